/** What a translating rule of another program makes of a packet, where its text says it. */
import type { Family } from "../model/family.ts";
import type { Hit } from "./own-rules.ts";
import type { Endpoint } from "./packet.ts";

export interface ForeignTarget {
  readonly side: Hit["side"];
  /** `undefined`: the gateway's own address on the interface (masquerade). */
  readonly to: Endpoint | undefined;
}

/** Reads `-j DNAT --to-destination 10.0.1.5:80`, `snat to 203.0.113.9`, `masquerade`. `undefined` for anything else. */
export function foreignTarget(text: string, family: Family): ForeignTarget | undefined {
  if (/(?:-j MASQUERADE|\bmasquerade)\b/.test(text)) return { side: "source", to: undefined };
  const [, word, nftEnd] = /\b(dnat|snat)(?: ip)? to (\S+)/.exec(text) ?? [];
  const [, option, end = nftEnd] = /--to-(destination|source) (\S+)/.exec(text) ?? [];
  if (end === undefined) return undefined;
  const endpoint = family.parseEndpoint(end);
  if (endpoint === undefined) return undefined;
  const { address, port } = endpoint;
  const number = port === undefined ? undefined : Number(port);
  if (number !== undefined && !Number.isInteger(number)) return undefined;
  return {
    side: word === "dnat" || option === "destination" ? "destination" : "source",
    to: { address, port: number },
  };
}
