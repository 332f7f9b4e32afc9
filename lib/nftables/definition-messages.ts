/** Requests that make and remove tables, their maps, sets, counters, chains and rules. */
import { bytesAttribute, concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import { commentData } from "./comment.ts";
import type { Expression } from "./expressions.ts";
import { type Field, field, fieldBytes, typeOf } from "./fields.ts";
import { type MapName, mapNames, tableName } from "./maps.ts";
import { elementSets, type GuardSet, guardSetNames, isGuardSet, type SetName, tableHolding } from "./sets.ts";
import {
  chainAttribute,
  counterAttribute,
  counterObject,
  expressionAttribute,
  hookAttribute,
  inetHeader,
  messageType,
  NFTA_LIST_ELEM,
  NFTA_SET_DESC_CONCAT,
  NFTA_SET_FIELD_LEN,
  objectAttribute,
  ruleAttribute,
  setAttribute,
  setFlag,
  tableAttribute,
} from "./wire.ts";

export interface BaseChain {
  readonly name: string;
  readonly type: "nat" | "filter";
  readonly hook: keyof typeof hooks;
  readonly priority: number;
}

/** Has no effect if the table exists. */
export function newTable(name = tableName): NetlinkMessage {
  const attributes = [textAttribute(tableAttribute.name, name), netU32Attribute(tableAttribute.flags, 0)];
  return message(messageType.newTable, messageFlag.create, attributes);
}

/** Deletes the table with all its contents. The kernel refuses if it does not exist. */
export function deleteTable(name = tableName): NetlinkMessage {
  return message(messageType.deleteTable, 0, [textAttribute(tableAttribute.name, name)]);
}

/** NF_INET_*, NF_ACCEPT and NFT_CHAIN_BASE. */
const hooks = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
const accept = 1;
const baseChain = 1;

export function newChain({ name, type, hook, priority }: BaseChain, table = tableName): NetlinkMessage {
  const place = [
    netU32Attribute(hookAttribute.number, hooks[hook]),
    netU32Attribute(hookAttribute.priority, priority >>> 0),
  ];
  return message(messageType.newChain, messageFlag.create, [
    textAttribute(chainAttribute.table, table),
    textAttribute(chainAttribute.name, name),
    bytesAttribute(chainAttribute.hook, concatBytes(...place)),
    netU32Attribute(chainAttribute.policy, accept),
    textAttribute(chainAttribute.type, type),
    netU32Attribute(chainAttribute.flags, baseChain),
  ]);
}

/** One that others jump to. */
export function newPlainChain(name: string, table: string): NetlinkMessage {
  return message(messageType.newChain, messageFlag.create, [
    textAttribute(chainAttribute.table, table),
    textAttribute(chainAttribute.name, name),
  ]);
}

/** Deletes all rules of a chain. */
export function flushChain(name: string, table: string): NetlinkMessage {
  return message(messageType.deleteRule, 0, [
    textAttribute(ruleAttribute.table, table),
    textAttribute(ruleAttribute.chain, name),
  ]);
}

/**
 * Appends the rule to its chain.
 *
 * @param comment what nft shows beside the rule
 */
export function newRule(
  chain: string,
  expressions: readonly Expression[],
  table = tableName,
  comment?: string,
): NetlinkMessage {
  return message(messageType.newRule, messageFlag.create | messageFlag.append, [
    textAttribute(ruleAttribute.table, table),
    textAttribute(ruleAttribute.chain, chain),
    bytesAttribute(ruleAttribute.expressions, concatBytes(...expressions)),
    ...(comment === undefined ? [] : [bytesAttribute(ruleAttribute.userdata, commentData(comment))]),
  ]);
}

/** A counter that rules name; it begins at what another of its name had counted. */
export function newCounter(name: string, table: string, from: Counted = nothingCounted): NetlinkMessage {
  return message(messageType.newObject, messageFlag.create, [
    textAttribute(objectAttribute.table, table),
    textAttribute(objectAttribute.name, name),
    netU32Attribute(objectAttribute.type, counterObject),
    bytesAttribute(objectAttribute.data, counterData(from)),
  ]);
}

export interface Counted {
  readonly packets: number;
  readonly bytes: number;
}

const nothingCounted: Counted = { packets: 0, bytes: 0 };

/** A map whose elements have counters. */
export function newMap(name: MapName): NetlinkMessage {
  const { key, value, isInterval } = elementSets[name];
  const flags = setFlag.map | (isInterval ? setFlag.interval | setFlag.concatenation : 0);
  return newSet(name, flags, mapNames.indexOf(name) + 1, [
    netU32Attribute(setAttribute.dataType, typeOf(value)),
    netU32Attribute(setAttribute.dataLength, value.length * fieldBytes),
    bytesAttribute(setAttribute.description, isInterval ? concatenation(key) : new Uint8Array()),
    bytesAttribute(setAttribute.expression, counterExpression()),
  ]);
}

/** A set of the guard's. */
export function newGuardSet(name: GuardSet): NetlinkMessage {
  return newSet(name, 0, guardSetNames.indexOf(name) + 1, [
    bytesAttribute(setAttribute.description, new Uint8Array()),
  ]);
}

/** @param id what names it within the transaction; the kernel wants one of each set */
function newSet(name: SetName, flags: number, id: number, more: readonly Uint8Array[]): NetlinkMessage {
  const { key } = elementSets[name];
  return message(messageType.newSet, messageFlag.create, [
    textAttribute(setAttribute.table, tableHolding(name)),
    textAttribute(setAttribute.name, name),
    // The kernel dumps no flags attribute if no flag is set.
    ...(flags === 0 ? [] : [netU32Attribute(setAttribute.flags, flags)]),
    netU32Attribute(setAttribute.keyType, typeOf(key)),
    netU32Attribute(setAttribute.keyLength, key.length * fieldBytes),
    netU32Attribute(setAttribute.id, id),
    bytesAttribute(setAttribute.userdata, isGuardSet(name) ? byteOrder.subarray(0, 6) : byteOrder),
    ...more,
  ]);
}

/**
 * User data for nft, because the set type does not say it: keys (0) and values (1) are big-endian (2), as tag, length,
 * value.
 */
const byteOrder = Uint8Array.of(0, 4, 2, 0, 0, 0, 1, 4, 2, 0, 0, 0);

/**
 * A set or map whose keys are addresses.
 *
 * @param id names it within the transaction
 * @param more attributes beside names and keys
 */
export function newAddressSet(
  table: string,
  name: string,
  id: number,
  more: readonly Uint8Array[],
): NetlinkMessage {
  return newFieldSet({ table, name, id, key: field.address }, more);
}

/** The same with keys of one field. */
export function newFieldSet(
  { table, name, id, key }: { table: string; name: string; id: number; key: Field },
  more: readonly Uint8Array[],
): NetlinkMessage {
  return message(messageType.newSet, messageFlag.create, [
    textAttribute(setAttribute.table, table),
    textAttribute(setAttribute.name, name),
    netU32Attribute(setAttribute.keyType, key.type),
    netU32Attribute(setAttribute.keyLength, fieldBytes),
    netU32Attribute(setAttribute.id, id),
    ...more,
  ]);
}

/** The lengths of the key's parts. */
function concatenation(key: readonly Field[]): Uint8Array {
  const lengths = key.map(({ bytes }) =>
    bytesAttribute(NFTA_LIST_ELEM, netU32Attribute(NFTA_SET_FIELD_LEN, bytes)),
  );
  return bytesAttribute(NFTA_SET_DESC_CONCAT, concatBytes(...lengths));
}

/** An expression `counter` of elements, in the attribute that holds it. */
export function counterExpression(counted: Counted = nothingCounted): Uint8Array {
  return concatBytes(
    textAttribute(expressionAttribute.name, "counter"),
    bytesAttribute(expressionAttribute.data, counterData(counted)),
  );
}

function counterData({ packets, bytes }: Counted): Uint8Array {
  return concatBytes(
    bytesAttribute(counterAttribute.bytes, u64(bytes)),
    bytesAttribute(counterAttribute.packets, u64(packets)),
  );
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** A request about something of family ip. */
export function message(type: number, flags: number, attributes: readonly Uint8Array[]): NetlinkMessage {
  return { type, flags, payload: concatBytes(inetHeader, ...attributes) };
}
