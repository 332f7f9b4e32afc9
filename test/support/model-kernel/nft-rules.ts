/** What the rules of the table `ip natgw` do to a packet: the expressions that the definition is made of, on registers of 4 bytes. */

import type { Target } from "../../../lib/iptables/rule.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { fromU32, toU32 } from "../../../lib/model/ipv4.ts";
import { attributeEnd, attributeType, nextAttribute, payloadOf } from "../../../lib/netlink/attributes.ts";
import { expressionAttribute } from "../../../lib/nftables/wire.ts";
import { hashOf } from "./jhash.ts";

/** A packet in transit. */
export interface NftPacket {
  readonly transport: "tcp" | "udp";
  readonly in: string;
  readonly out?: string;
  /** The value of random numbers, 0 ≤ dice < 1. */
  readonly dice: number;
  readonly source: Ip;
  readonly destination: Ip;
  readonly destinationPort: number;
  readonly isDnat?: boolean;
  readonly originalDestination?: Ip;
  mark: number;
}

/** Finds the value of a key. Both have the form that they have in registers. */
export type Lookup = (map: string, key: DataView) => Uint8Array | undefined;

export type Attributes = ReadonlyMap<number, DataView>;

interface Expression {
  readonly name: string;
  readonly data: Attributes;
}

export type NftRule = readonly Expression[];

export function attributesOf(view: DataView, start = 0, end = view.byteLength): Attributes {
  const found = new Map<number, DataView>();
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    found.set(attributeType(view, at), part(view, payloadOf(at), attributeEnd(view, at, end)));
  return found;
}

/** @param list the attribute of a rule that contains its expressions */
export function parseExpressions(list: DataView): NftRule {
  const rule: Expression[] = [];
  for (let at = 0; at < list.byteLength; at = nextAttribute(list, at, list.byteLength)) {
    const item = attributesOf(list, payloadOf(at), attributeEnd(list, at, list.byteLength));
    rule.push({
      name: textOf(item.get(expressionAttribute.name)),
      data: attributesOf(item.get(expressionAttribute.data) ?? new DataView(new ArrayBuffer(0))),
    });
  }
  return rule;
}

export function textOf(view: DataView | undefined): string {
  if (view === undefined) return "";
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return String.fromCharCode(...bytes).replace(/\0.*$/s, "");
}

/** @returns the translation that ends the packet's way through the chain; `undefined` if the rule does not match */
export function applyRule(rule: NftRule, packet: NftPacket, find: Lookup): Target | undefined {
  const registers = new DataView(new ArrayBuffer(20));
  for (const { name, data } of rule) {
    const run = expressions[name];
    if (run === undefined) throw new Error(`the model knows no expression ${name}`);
    const outcome = run(data, registers, packet, find);
    if (outcome === "no match") return undefined;
    if (outcome !== undefined) return outcome;
  }
  return undefined;
}

type Run = (
  data: Attributes,
  registers: DataView,
  packet: NftPacket,
  find: Lookup,
) => Target | "no match" | undefined;

const expressions: Readonly<Record<string, Run>> = {
  payload(data, registers, { source, destination, destinationPort }) {
    const to = register(data, 1);
    const what = `${u32(data, 2)} ${u32(data, 3)} ${u32(data, 4)}`;
    if (what === "1 12 4") registers.setUint32(to, toU32(source));
    else if (what === "1 16 4") registers.setUint32(to, toU32(destination));
    else if (what === "2 2 2") putPadded(registers, to, Uint8Array.of(destinationPort >> 8, destinationPort));
    else throw new Error(`the model knows no payload ${what}`);
    return undefined;
  },
  meta(data, registers, packet) {
    const key = u32(data, 2);
    if (data.has(3)) {
      if (key !== 3) throw new Error(`the model cannot set meta ${key}`);
      packet.mark = registers.getUint32(register(data, 3), true);
      return undefined;
    }
    const to = register(data, 1);
    if (key === 3) registers.setUint32(to, packet.mark, true);
    else if (key === 6) putName(registers, to, packet.in);
    else if (key === 7) putName(registers, to, packet.out ?? "");
    else if (key === 16) putPadded(registers, to, Uint8Array.of(packet.transport === "tcp" ? 6 : 17));
    else throw new Error(`the model knows no meta ${key}`);
    return undefined;
  },
  ct(data, registers, { isDnat = false, originalDestination }) {
    const key = u32(data, 2);
    if (key === 2) registers.setUint32(register(data, 1), isDnat ? 1 << 5 : 0, true);
    else if (key !== 20) throw new Error(`the model knows no ct ${key}`);
    else if (originalDestination === undefined) return "no match";
    else registers.setUint32(register(data, 1), toU32(originalDestination));
    return undefined;
  },
  numgen(data, registers, { dice }) {
    registers.setUint32(register(data, 1), u32(data, 4) + Math.floor(dice * u32(data, 2)), true);
    return undefined;
  },
  hash(data, registers) {
    const number = hashOf(fromU32(registers.getUint32(register(data, 1))), u32(data, 4), u32(data, 5));
    registers.setUint32(register(data, 2), u32(data, 6) + number, true);
    return undefined;
  },
  bitwise(data, registers) {
    const at = register(data, 1);
    const mask = bytesOf(data, 4).getUint32(0);
    registers.setUint32(at, ((registers.getUint32(at) & mask) ^ bytesOf(data, 5).getUint32(0)) >>> 0);
    return undefined;
  },
  cmp(data, registers) {
    const [at, wanted] = [register(data, 1), bytesOf(data, 3)];
    let isEqual = true;
    for (let index = 0; index < wanted.byteLength; index++)
      if (registers.getUint8(at + index) !== wanted.getUint8(index)) isEqual = false;
    return isEqual === (u32(data, 2) === 0) ? undefined : "no match";
  },
  lookup(data, registers, _packet, find) {
    const value = find(textOf(data.get(1)), registers);
    if (value === undefined) return "no match";
    putBytes(registers, register(data, 3), value);
    return undefined;
  },
  nat(data, registers) {
    const to = fromU32(registers.getUint32(register(data, 3)));
    const port = data.has(5) ? registers.getUint16(register(data, 5)) : undefined;
    const isRandom = (u32(data, 7) & 16) !== 0;
    return u32(data, 1) === 0 ? { kind: "snat", to, isRandom } : { kind: "dnat", to, port };
  },
};

/** Register 1 is the first; the next are 9, 10, 11 and 2. */
function register(data: Attributes, attribute: number): number {
  const number = u32(data, attribute);
  return number < 8 ? (number - 1) * 16 : (number - 8) * 4;
}

function u32(data: Attributes, attribute: number): number {
  return data.get(attribute)?.getUint32(0) ?? 0;
}

/** NFTA_DATA_VALUE in the attribute. */
function bytesOf(data: Attributes, attribute: number): DataView {
  const value = attributesOf(data.get(attribute) ?? new DataView(new ArrayBuffer(0))).get(1);
  if (value === undefined) throw new Error(`no value in attribute ${attribute}`);
  return value;
}

function putName(registers: DataView, at: number, name: string): void {
  putBytes(registers, at, new TextEncoder().encode(name.padEnd(16, "\0")));
}

function putPadded(registers: DataView, at: number, bytes: Uint8Array): void {
  registers.setUint32(at, 0);
  putBytes(registers, at, bytes);
}

function putBytes(registers: DataView, at: number, bytes: Uint8Array): void {
  for (const [index, byte] of bytes.entries()) registers.setUint8(at + index, byte);
}

function part(view: DataView, start: number, end: number): DataView {
  return new DataView(view.buffer, view.byteOffset + start, end - start);
}
