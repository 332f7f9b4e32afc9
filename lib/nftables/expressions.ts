/**
 * The expressions of the rules, attribute for attribute as the kernel dumps them. So the bytes that were sent can be
 * compared with the bytes that are read.
 *
 * Registers have 4 bytes. The kernel numbers them from 8, except that every fourth has the number of the 16-byte
 * register that starts there: 1, 9, 10, 11, 2.
 */

import type { AddressValue } from "../model/family.ts";
import type { InterfaceName } from "../model/names.ts";
import { bytesAttribute, concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { tableFamily } from "./family.ts";
import { counterObject, expressionAttribute, familyNumber, NFTA_DATA_VALUE, NFTA_LIST_ELEM } from "./wire.ts";

const u32 = netU32Attribute;

/** One expression as an entry of a rule's list. */
export type Expression = Uint8Array;

export const register = [1, 9, 10, 11, 2] as const;
export type Register = (typeof register)[number];

/** Bytes of an IPv4 header or a transport header. */
export type Packet = "source" | "destination" | "source port" | "destination port" | "tcp flags";

const { nft, addressBytes } = tableFamily;

/** NFT_PAYLOAD_NETWORK_HEADER 1, NFT_PAYLOAD_TRANSPORT_HEADER 2; offset and length. */
const payloads = {
  source: [1, nft.sourceAt, addressBytes],
  destination: [1, nft.destinationAt, addressBytes],
  "source port": [2, 0, 2],
  "destination port": [2, 2, 2],
  "tcp flags": [2, 13, 1],
} satisfies Record<Packet, readonly [number, number, number]>;

export function loadPacket(what: Packet, to: Register): Expression {
  const [base, offset, length] = payloads[what];
  return expression("payload", u32(1, to), u32(2, base), u32(3, offset), u32(4, length));
}

/** Bytes of the network header, of whichever family. At most 16. */
export function loadNetworkHeader(offset: number, length: number, to: Register): Expression {
  return expression("payload", u32(1, to), u32(2, 1), u32(3, offset), u32(4, length));
}

/** NFT_META_*. */
const metaKeys = {
  length: 0,
  priority: 2,
  mark: 3,
  iif: 4,
  iifname: 6,
  oifname: 7,
  nfproto: 15,
  l4proto: 16,
} as const;

export function loadMeta(key: keyof typeof metaKeys, to: Register): Expression {
  return expression("meta", u32(2, metaKeys[key]), u32(1, to));
}

export function setMark(from: Register): Expression {
  return expression("meta", u32(2, metaKeys.mark), u32(3, from));
}

/** The class that the queueing discipline of the outgoing interface puts the packet in, in host byte order. */
export function setPriority(from: Register): Expression {
  return expression("meta", u32(2, metaKeys.priority), u32(3, from));
}

/** NFT_CT_STATE: bits of {@link ctState}. */
export function loadState(to: Register): Expression {
  return expression("ct", u32(1, to), u32(2, 0));
}

/** NF_CT_STATE_*_BIT. */
export const ctState = { invalid: 1, untracked: 64 } as const;

/** NFT_CT_STATUS: bits of {@link ctStatus}. */
export function loadStatus(to: Register): Expression {
  return expression("ct", u32(1, to), u32(2, 2));
}

/** NFT_CT_DST_IP* of IP_CT_DIR_ORIGINAL. */
export function loadOriginalDestination(to: Register): Expression {
  return loadTuple("original", "destination", to);
}

/** IP_CT_DIR_*. */
export const ctDirection = { original: 0, reply: 1 } as const;
export type Direction = keyof typeof ctDirection;

/** NFT_CT_DIRECTION: one byte, the direction of this packet. */
export function loadDirection(to: Register): Expression {
  return expression("ct", u32(1, to), u32(2, 1));
}

/** An address of the flow as packets of a direction have it before the gateway translates them. */
export function loadTuple(direction: Direction, side: "source" | "destination", to: Register): Expression {
  const key = side === "source" ? nft.ctSource : nft.ctDestination;
  return expression("ct", u32(1, to), u32(2, key), bytesAttribute(3, Uint8Array.of(ctDirection[direction])));
}

/** IPS_SRC_NAT and IPS_DST_NAT. */
export const ctStatus = { sourceNat: 1 << 4, destinationNat: 1 << 5 } as const;

/** Writes a random number from `first` to `first + count - 1` for each packet (NFT_NG_RANDOM), in host byte order. */
export function drawNumber(to: Register, count: number, first: number): Expression {
  return expression("numgen", u32(1, to), u32(2, count), u32(3, 1), u32(4, first));
}

/**
 * Writes a number from `first` to `first + count - 1`, in host byte order, that depends on the address in `from` alone
 * (NFT_HASH_JENKINS). The seed is fixed: the number is the same after a restart and on another gateway.
 */
export function hashNumber(from: Register, to: Register, count: number, first: number): Expression {
  return expression(
    "hash",
    u32(1, from),
    u32(2, to),
    u32(3, addressBytes),
    u32(4, count),
    u32(5, hashSeed),
    // The kernel does not dump 0.
    ...(first === 0 ? [] : [u32(6, first)]),
    u32(7, 0),
  );
}

export const hashSeed = 1;

/** `register = (register & mask) ^ xor` on as many bytes as these have. */
export function bitwise(at: Register, mask: Uint8Array, xor: Uint8Array): Expression {
  return expression(
    "bitwise",
    u32(1, at),
    u32(2, at),
    u32(3, mask.length),
    u32(6, 0),
    data(4, mask),
    data(5, xor),
  );
}

/** NFT_CMP_*. */
const operators = { equal: 0, "not equal": 1, greater: 4 } as const;

/** Continues the rule if the register starts with `bytes` (or if it does not, or if its first bytes are greater). */
export function compare(at: Register, operator: keyof typeof operators, bytes: Uint8Array): Expression {
  return expression("cmp", u32(1, at), u32(2, operators[operator]), data(3, bytes));
}

/** Turns the 4 bytes of a number in host byte order around, for {@link compare} (NFT_BYTEORDER_HTON). */
export function toNetworkOrder(at: Register): Expression {
  return expression("byteorder", u32(1, at), u32(2, at), u32(3, 1), u32(4, 4), u32(5, 4));
}

/** Continues the rule if the map has an element for the key from register 1, and writes its value to register 1. */
export function lookup(map: string): Expression {
  return expression("lookup", textAttribute(1, map), u32(2, 1), u32(3, 1), u32(5, 0));
}

/** Ends with the verdict that the map has for the key from register 1; goes on where it has none. */
export function lookupVerdict(map: string): Expression {
  return expression("lookup", textAttribute(1, map), u32(2, 1), u32(3, 0), u32(5, 0));
}

/** Like {@link lookup}, in a map without a name of the same transaction. The kernel replaces `name` and keeps no `id`. */
export function lookupUnnamed(name: string, id: number): Expression {
  return expression("lookup", textAttribute(1, name), u32(2, 1), u32(3, 1), u32(4, id), u32(5, 0));
}

/** Goes on where the set has an element for what begins at the register (or has none: NFT_LOOKUP_F_INV). */
export function member(set: string, at: Register = register[0], isOther = false): Expression {
  return expression("lookup", textAttribute(1, set), u32(2, at), u32(5, isOther ? 1 : 0));
}

/**
 * Counts the packet in the element for the key from register 1, which is made if the set has none (NFT_DYNSET_OP_UPDATE).
 * Goes on, unless the set is full.
 */
export function update(set: string, ...more: readonly Uint8Array[]): Expression {
  return expression("dynset", u32(4, 1), u32(3, 1), textAttribute(1, set), ...more);
}

/** Goes on where some of the bits are set in the 4 bytes of register 1, which then holds nothing else; or where none is. */
export function testBits(bits: number, operator: "any" | "none"): readonly Expression[] {
  const first = register[0];
  return [
    bitwise(first, hostOrder(bits), hostOrder(0)),
    compare(first, operator === "any" ? "not equal" : "equal", hostOrder(0)),
  ];
}

/** Goes on where the packet's interface has this name (or another), the whole of the kernel's 16 bytes: no prefix of it. */
export function ifName(key: "iifname" | "oifname", name: InterfaceName, isOther = false) {
  const bytes = Uint8Array.from({ length: 16 }, (_, index) =>
    index < name.length ? name.charCodeAt(index) : 0,
  );
  return [loadMeta(key, register[0]), compare(register[0], isOther ? "not equal" : "equal", bytes)];
}

/** A rate, and what may pass at once after a pause. Bytes and bytes a second. */
export interface RateLimit {
  readonly rate: number;
  readonly burst: number;
}

/** Goes on where the packets are more than that (NFT_LIMIT_PKT_BYTES, NFT_LIMIT_F_INV). */
export function limitOver(limit: RateLimit): Expression {
  return bytesAttribute(NFTA_LIST_ELEM, limitOverBody(limit));
}

/** The same as the expression of an element. */
export function limitOverBody({ rate, burst }: RateLimit): Uint8Array {
  const u64 = (type: number, value: number) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
    return bytesAttribute(type, bytes);
  };
  return expressionBody("limit", u64(1, rate), u64(2, 1), u32(3, burst), u32(4, 1), u32(5, 1));
}

/** Writes 4 bytes to the register. */
export function immediate(to: Register, bytes: Uint8Array): Expression {
  return expression("immediate", u32(1, to), data(2, bytes));
}

/** Counts the packet in a counter of the table. */
export function count(counter: string): Expression {
  return expression("objref", u32(1, counterObject), textAttribute(2, counter));
}

/** Ends the packet. */
export const drop: Expression = verdict(u32(1, 0));

/** Goes on in another chain, and after its end here. NFT_JUMP is -3. */
export function jump(chain: string): Expression {
  return verdict(u32(1, -3 >>> 0), textAttribute(2, chain));
}

/** Ends the chain: the packet goes on where the chain was entered. NFT_RETURN is -5. */
export const endChain: Expression = verdict(u32(1, -5 >>> 0));

/** An immediate for register 0, the verdict: NFTA_DATA_VERDICT 2 with its code 1 and its chain 2. */
function verdict(...attributes: readonly Uint8Array[]): Expression {
  return expression("immediate", u32(1, 0), bytesAttribute(2, bytesAttribute(2, concatBytes(...attributes))));
}

/** As marks and status bits stand in registers. */
export function hostOrder(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** As addresses stand in registers. */
export function networkOrder(value: AddressValue): Uint8Array {
  const bytes = new Uint8Array(addressBytes);
  tableFamily.write(bytes, 0, value);
  return bytes;
}

/** NF_NAT_RANGE_*: the first two follow from the registers used. */
const rangeFlag = { addresses: 1, ports: 2, fullyRandom: 16 } as const;

export interface NatOptions {
  /** The port is in the register after the address. */
  readonly withPort?: boolean;
  readonly isFullyRandom?: boolean;
}

/** Translates to the address in register 1. Ends rule evaluation for this packet. */
export function nat(kind: "snat" | "dnat", { withPort, isFullyRandom }: NatOptions = {}): Expression {
  const port = withPort ? [u32(5, 9), u32(6, 9)] : [];
  const flags =
    rangeFlag.addresses | (withPort ? rangeFlag.ports : 0) | (isFullyRandom ? rangeFlag.fullyRandom : 0);
  const type = kind === "snat" ? 0 : 1;
  return expression("nat", u32(1, type), u32(2, familyNumber), u32(3, 1), u32(4, 1), ...port, u32(7, flags));
}

/** NFTA_DATA_VALUE in an attribute without the nested flag, as the kernel writes it. */
function data(type: number, bytes: Uint8Array): Uint8Array {
  return bytesAttribute(type, bytesAttribute(NFTA_DATA_VALUE, bytes));
}

function expression(name: string, ...attributes: readonly Uint8Array[]): Expression {
  return bytesAttribute(NFTA_LIST_ELEM, expressionBody(name, ...attributes));
}

function expressionBody(name: string, ...attributes: readonly Uint8Array[]): Uint8Array {
  return concatBytes(
    textAttribute(expressionAttribute.name, name),
    bytesAttribute(expressionAttribute.data, concatBytes(...attributes)),
  );
}
