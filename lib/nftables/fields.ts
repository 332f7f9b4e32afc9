/** The parts of an element's key and value: numbers in messages, nft's own words in text. */
import type { AddressValue } from "../model/family.ts";
import type { Protocol } from "../model/schema.ts";
import { handleText, parseHandle } from "../tc/handles.ts";
import { tableFamily } from "./family.ts";

/** Bytes of each part of a concatenation in messages and registers, whatever its length. */
export const fieldBytes = 4;

/** One part of a concatenation. */
export interface Field {
  /** The number of bytes that the kernel compares. */
  readonly bytes: 1 | 2 | 4;
  /** nft's number for the data type. The kernel only stores it. */
  readonly type: number;
  /** True for numbers that the kernel creates: they are in host byte order (little-endian). */
  readonly isHostOrder?: boolean;
  format(value: number): string;
  /** The inverse of `format`. NaN for other text. */
  parse(text: string): number;
}

const protocolNames = new Map([
  [6, "tcp"],
  [17, "udp"],
  [132, "sctp"],
]);
const protocolNumbers: ReadonlyMap<string, number> = new Map(
  [...protocolNames].map(([number, name]) => [name, number]),
);

/** As in IP headers. */
export function protocolNumber(protocol: Protocol): number {
  return protocolNumbers.get(protocol) ?? Number.NaN;
}

const addressField: Field = {
  bytes: 4,
  type: tableFamily.nft.addressType,
  format: (value) => tableFamily.format(value as number & AddressValue),
  parse: (text) => {
    const address = tableFamily.parse(text);
    return address === undefined ? Number.NaN : Number(tableFamily.toValue(address));
  },
};
const protocolField: Field = {
  bytes: 1,
  type: 12,
  format: (value) => protocolNames.get(value) ?? String(value),
  parse: (text) => protocolNumbers.get(text) ?? Number(text),
};
const portField: Field = { bytes: 2, type: 13, format: String, parse: Number };
/** nft's type "mark", which is stored in host byte order. */
const numberField: Field = {
  bytes: 4,
  type: 19,
  isHostOrder: true,
  format: (value) => `0x${value.toString(16).padStart(8, "0")}`,
  parse: Number,
};

/** The length of a packet. nft has no type for it, see `lengthKeys` in encode-accounting.ts. */
const lengthField: Field = { bytes: 4, type: 0, isHostOrder: true, format: String, parse: Number };

/** nft's type "classid": a class of a queueing discipline, which is stored in host byte order. */
const classField: Field = {
  bytes: 4,
  type: 23,
  isHostOrder: true,
  format: handleText,
  parse: parseHandle,
};

export const field = {
  address: addressField,
  protocol: protocolField,
  port: portField,
  number: numberField,
  length: lengthField,
  class: classField,
} as const;

/** nft packs the types of a concatenation into one number, 6 bits each. */
export function typeOf(fields: readonly Field[]): number {
  return fields.reduce((packed, { type }) => packed * 64 + type, 0);
}

/** Writes the value of a field as it is in registers. */
export function writeField(
  view: DataView,
  at: number,
  { bytes, isHostOrder = false }: Field,
  value: number,
): void {
  if (bytes === 4) view.setUint32(at, value, isHostOrder);
  else if (bytes === 2) view.setUint16(at, value);
  else view.setUint8(at, value);
}

export function readField(view: DataView, at: number, { bytes, isHostOrder = false }: Field): number {
  if (bytes === 4) return view.getUint32(at, isHostOrder);
  return bytes === 2 ? view.getUint16(at) : view.getUint8(at);
}
