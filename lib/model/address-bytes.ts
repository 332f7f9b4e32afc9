/** Addresses on which the agent listens, as a packet carries them. They may be of a family that the gateway does not translate. */
import { families, parseIp } from "./families.ts";

export interface AddressBytes {
  /** In network byte order. */
  readonly bytes: Uint8Array;
  /** NFPROTO_* of the packet. */
  readonly number: number;
  /** Offset of the destination in the packet's network header. */
  readonly destinationAt: number;
}

/** NFPROTO_IPV6, and where its header has the destination. */
const wide = { number: 10, destinationAt: 24 } as const;
const groups = 8;

/** @throws RangeError for what is no address. A zone (`%eth0`) is left out. */
export function addressBytesOf(text: string): AddressBytes {
  const address = parseIp(text);
  const family = address && families.find(({ owns }) => owns(address));
  if (address === undefined || family === undefined)
    return { bytes: wideBytes(text.split("%")[0] ?? ""), ...wide };
  const bytes = new Uint8Array(family.addressBytes);
  family.write(bytes, 0, family.toValue(address));
  return { bytes, number: family.number, destinationAt: family.nft.destinationAt };
}

function wideBytes(text: string): Uint8Array {
  const [head = "", tail, ...rest] = text.split("::");
  const before = groupsOf(head);
  const after = groupsOf(tail ?? "");
  const left = groups - before.length - after.length;
  const isWhole = tail === undefined ? left === 0 : left > 0;
  const all = [...before, ...Array.from({ length: Math.max(left, 0) }, () => 0), ...after];
  if (!isWhole || rest.length > 0 || all.some(Number.isNaN)) throw new RangeError(`${text} is no address`);
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(text: string): readonly number[] {
  if (text === "") return [];
  const parts = text.split(":");
  const last = parseIp(parts.at(-1) ?? "");
  const numbers = (last === undefined ? parts : parts.slice(0, -1)).map((part) =>
    /^[0-9a-f]{1,4}$/i.test(part) ? Number.parseInt(part, 16) : Number.NaN,
  );
  return last === undefined ? numbers : [...numbers, ...pairsOf(addressBytesOf(last).bytes)];
}

/** The end of an address may be written as one of the narrower family. */
function pairsOf(bytes: Uint8Array): readonly number[] {
  return [0, 2].map((at) => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
}
