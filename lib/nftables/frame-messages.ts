/** Requests that create and delete the table, its maps, chains and rules. */
import { bytesAttribute, concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import type { Expression } from "./expressions.ts";
import { type Field, fieldBytes, typeOf } from "./fields.ts";
import { type ElementMap, elementMaps, type MapName, mapNames, tableName } from "./maps.ts";
import {
  chainAttribute,
  expressionAttribute,
  hookAttribute,
  inetHeader,
  messageType,
  NFTA_LIST_ELEM,
  NFTA_SET_DESC_CONCAT,
  NFTA_SET_FIELD_LEN,
  ruleAttribute,
  setAttribute,
  setFlag,
  tableAttribute,
} from "./wire.ts";

export interface BaseChain {
  readonly name: string;
  readonly type: "nat" | "filter";
  readonly hook: "prerouting" | "postrouting";
  readonly priority: number;
}

/** Has no effect if the table exists. */
export function newTable(): NetlinkMessage {
  const attributes = [
    textAttribute(tableAttribute.name, tableName),
    netU32Attribute(tableAttribute.flags, 0),
  ];
  return message(messageType.newTable, messageFlag.create, attributes);
}

/** Deletes the table with all its contents. The kernel refuses if it does not exist. */
export function deleteTable(): NetlinkMessage {
  return message(messageType.deleteTable, 0, [textAttribute(tableAttribute.name, tableName)]);
}

/** NF_INET_*, NF_ACCEPT and NFT_CHAIN_BASE. */
const hooks = { prerouting: 0, postrouting: 4 } as const;
const accept = 1;
const baseChain = 1;

export function newChain({ name, type, hook, priority }: BaseChain): NetlinkMessage {
  const place = [
    netU32Attribute(hookAttribute.number, hooks[hook]),
    netU32Attribute(hookAttribute.priority, priority >>> 0),
  ];
  return message(messageType.newChain, messageFlag.create, [
    textAttribute(chainAttribute.table, tableName),
    textAttribute(chainAttribute.name, name),
    bytesAttribute(chainAttribute.hook, concatBytes(...place)),
    netU32Attribute(chainAttribute.policy, accept),
    textAttribute(chainAttribute.type, type),
    netU32Attribute(chainAttribute.flags, baseChain),
  ]);
}

/** Appends the rule to its chain. */
export function newRule(chain: string, expressions: readonly Expression[]): NetlinkMessage {
  return message(messageType.newRule, messageFlag.create | messageFlag.append, [
    textAttribute(ruleAttribute.table, tableName),
    textAttribute(ruleAttribute.chain, chain),
    bytesAttribute(ruleAttribute.expressions, concatBytes(...expressions)),
  ]);
}

/** A map whose elements have counters. */
export function newMap(name: MapName): NetlinkMessage {
  const { key, value, isInterval }: ElementMap = elementMaps[name];
  const flags = setFlag.map | (isInterval ? setFlag.interval | setFlag.concatenation : 0);
  return message(messageType.newSet, messageFlag.create, [
    textAttribute(setAttribute.table, tableName),
    textAttribute(setAttribute.name, name),
    netU32Attribute(setAttribute.flags, flags),
    netU32Attribute(setAttribute.keyType, typeOf(key)),
    netU32Attribute(setAttribute.keyLength, key.length * fieldBytes),
    netU32Attribute(setAttribute.dataType, typeOf(value)),
    netU32Attribute(setAttribute.dataLength, value.length * fieldBytes),
    bytesAttribute(setAttribute.description, isInterval ? concatenation(key) : new Uint8Array()),
    // Identifies the set within the transaction. The kernel requires an id for each set.
    netU32Attribute(setAttribute.id, mapNames.indexOf(name) + 1),
    bytesAttribute(setAttribute.userdata, byteOrder),
    bytesAttribute(setAttribute.expression, counter),
  ]);
}

/**
 * User data for nft, because the set type does not say it: keys (0) and values (1) are big-endian (2), as tag, length,
 * value.
 */
const byteOrder = Uint8Array.of(0, 4, 2, 0, 0, 0, 1, 4, 2, 0, 0, 0);

/** The lengths of the key's parts. */
function concatenation(key: readonly Field[]): Uint8Array {
  const lengths = key.map(({ bytes }) =>
    bytesAttribute(NFTA_LIST_ELEM, netU32Attribute(NFTA_SET_FIELD_LEN, bytes)),
  );
  return bytesAttribute(NFTA_SET_DESC_CONCAT, concatBytes(...lengths));
}

/** A `counter` expression at zero: NFTA_COUNTER_BYTES 1, NFTA_COUNTER_PACKETS 2. */
const counter = concatBytes(
  textAttribute(expressionAttribute.name, "counter"),
  bytesAttribute(
    expressionAttribute.data,
    concatBytes(bytesAttribute(1, new Uint8Array(8)), bytesAttribute(2, new Uint8Array(8))),
  ),
);

function message(type: number, flags: number, attributes: readonly Uint8Array[]): NetlinkMessage {
  return { type, flags, payload: concatBytes(inetHeader, ...attributes) };
}
