/** Encodes changes of the table of rate limits. */
import { addressOf, type Cidr, prefixLengthOf } from "../model/ip.ts";
import { bytesAttribute, concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import { commentData } from "./comment.ts";
import { linesOf } from "./definition-lines.ts";
import {
  deleteTable,
  newAddressSet,
  newChain,
  newCounter,
  newRule,
  newTable,
} from "./definition-messages.ts";
import {
  bitwise,
  compare,
  count,
  ctDirection,
  type Direction,
  drop,
  type Expression,
  hostOrder,
  ifName,
  immediate,
  limitOver,
  limitOverBody,
  loadDirection,
  loadMeta,
  loadPacket,
  loadTuple,
  lookup,
  member,
  networkOrder,
  register,
  setPriority,
} from "./expressions.ts";
import { tableFamily } from "./family.ts";
import { type Field, field, fieldBytes, writeField } from "./fields.ts";
import type { DropCounts } from "./filter-tables.ts";
import {
  parseLimitText,
  partsOfValue,
  policyCounters,
  priorityComment,
  type QosDefinition,
  type QosPackets,
  type QosRule,
  type QosTransaction,
  qosChain,
  qosPriority,
  qosTable,
} from "./qos.ts";
import {
  elementAttribute,
  elementListAttribute,
  inetHeader,
  messageType,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  setAttribute,
  setFlag,
} from "./wire.ts";

const [r1] = register;

/** @param counts the initial values of the counters of a table that is made */
export function encodeQos(
  { definition, remove, add }: QosTransaction,
  counts?: DropCounts,
): readonly NetlinkMessage[] {
  return [
    ...(definition?.isReplaced ? [deleteTable(qosTable)] : []),
    ...(definition?.make === undefined ? [] : encodeQosDefinition(definition.make, counts)),
    ...[...remove].flatMap(([set, keys]) =>
      chunksOf(keys).map((some) =>
        elements(
          messageType.deleteElements,
          0,
          set,
          some.map((key) => elementOf(key)),
        ),
      ),
    ),
    ...[...add].flatMap(([set, values]) =>
      chunksOf([...values]).map((some) =>
        elements(
          messageType.newElements,
          messageFlag.create,
          set,
          some.map(([key, value]) => elementOf(key, value)),
        ),
      ),
    ),
  ];
}

/** The table without elements. */
export function encodeQosDefinition(
  { maps, sets, rules }: QosDefinition,
  counts: DropCounts = new Map(),
): readonly NetlinkMessage[] {
  const counters = policyCounters.filter((name) => rules.some(({ counter }) => counter === name));
  return [
    newTable(qosTable),
    ...counters.map((name) => newCounter(name, qosTable, counts.get(name))),
    ...maps.map((name, at) => newClassMap(name, at + 1)),
    ...sets.map((name, at) => newLimitSet(name, maps.length + at + 1)),
    newChain({ name: qosChain, type: "filter", hook: "postrouting", priority: qosPriority }, qosTable),
    ...rules.flatMap((rule) => {
      const comment = rule.priority === undefined ? undefined : priorityComment(rule.priority);
      return expressionsOf(rule).map((parts) => newRule(qosChain, parts, qosTable, comment));
    }),
  ];
}

/** The lines that a dump of the table gives. */
export function qosDefinitionLines(definition: QosDefinition): readonly string[] {
  return linesOf(encodeQosDefinition(definition), qosTable);
}

/** The lines of one rule. */
export function qosRuleLines(rule: QosRule): readonly string[] {
  return qosDefinitionLines({ maps: [], sets: [], rules: [rule] }).filter((line) => line.startsWith("rule "));
}

/** What all lines of rules about these packets begin with. */
export function qosHeadLines(packets: QosPackets): readonly string[] {
  return headsOf(packets).map((head) =>
    linesOf([newTable(qosTable), newRule(qosChain, head, qosTable)], qosTable)
      .filter((line) => line.startsWith("rule "))
      .join()
      .trimEnd(),
  );
}

/** @param id names it within the transaction */
export function newClassMap(name: string, id: number): NetlinkMessage {
  return newAddressSet(qosTable, name, id, [
    netU32Attribute(setAttribute.flags, setFlag.map),
    netU32Attribute(setAttribute.dataType, field.class.type),
    netU32Attribute(setAttribute.dataLength, fieldBytes),
    bytesAttribute(setAttribute.userdata, addressToClass),
    bytesAttribute(setAttribute.description, new Uint8Array()),
  ]);
}

/** A set whose elements each have a limit of their own. The set's limit is for elements without. */
export function newLimitSet(name: string, id: number): NetlinkMessage {
  return newAddressSet(qosTable, name, id, [
    bytesAttribute(setAttribute.userdata, addressToClass.subarray(0, 6)),
    bytesAttribute(setAttribute.description, new Uint8Array()),
    bytesAttribute(setAttribute.expression, limitOverBody({ rate: 1_000_000_000, burst: 1_000_000 })),
  ]);
}

/** User data for nft: keys (0) are big-endian (2), values (1) in host byte order (1). */
const addressToClass = Uint8Array.of(0, 4, 2, 0, 0, 0, 1, 4, 1, 0, 0, 0);

/** Requests the elements of a map or set. The sender adds NLM_F_DUMP. */
export function dumpQosElements(set: string): NetlinkMessage {
  return { type: messageType.getElements, flags: 0, payload: listHeader(set) };
}

/** A rule about an address before NAT is two rules of the kernel, one for each direction of flows. */
function expressionsOf(rule: QosRule): readonly (readonly Expression[])[] {
  const action = actionOf(rule);
  return headsOf(rule).map((head) => [...head, ...action]);
}

/** Which packets, and their address in register 1. */
function headsOf({ out, in: from, address }: QosPackets): readonly (readonly Expression[])[] {
  const head = [...ifName("oifname", out), ...(from === undefined ? isForwarded : ifName("iifname", from))];
  if (address === undefined) return [head];
  const { side, isBeforeNat } = address;
  if (!isBeforeNat) return [[...head, loadPacket(side, r1)]];
  return (["original", "reply"] as const).map((direction) => [
    ...head,
    ...isOf(direction),
    loadTuple(direction, side, r1),
  ]);
}

const isForwarded = [loadMeta("iif", r1), compare(r1, "not equal", hostOrder(0))];

function isOf(direction: Direction): readonly Expression[] {
  return [loadDirection(r1), compare(r1, "equal", Uint8Array.of(ctDirection[direction]))];
}

/** With the address in register 1. */
function actionOf({ match, counter }: QosRule): readonly Expression[] {
  const dropped = counter === undefined ? [drop] : [count(counter), drop];
  if ("map" in match) return [lookup(match.map), setPriority(r1)];
  if ("set" in match) return [member(match.set), ...dropped];
  const { network, verdict } = match;
  return [
    ...(network === undefined ? [] : isIn(network)),
    ...("over" in verdict
      ? [limitOver(verdict.over), ...dropped]
      : [immediate(r1, hostOrder(verdict.class)), setPriority(r1)]),
  ];
}

function isIn(network: Cidr): readonly Expression[] {
  const { netmask, zero, toValue } = tableFamily;
  return [
    bitwise(r1, networkOrder(netmask(prefixLengthOf(network))), networkOrder(zero)),
    compare(r1, "equal", networkOrder(toValue(addressOf(network)))),
  ];
}

/** Below 64 KiB, the limit of a list. */
const elementsAtOnce = 400;

function chunksOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / elementsAtOnce) }, (_, at) =>
    items.slice(at * elementsAtOnce, (at + 1) * elementsAtOnce),
  );
}

function listHeader(set: string): Uint8Array {
  return concatBytes(
    inetHeader,
    textAttribute(elementListAttribute.table, qosTable),
    textAttribute(elementListAttribute.set, set),
  );
}

function elements(type: number, flags: number, set: string, list: readonly Uint8Array[]): NetlinkMessage {
  const payload = concatBytes(
    listHeader(set),
    bytesAttribute(elementListAttribute.elements, concatBytes(...list)),
  );
  return { type, flags, payload };
}

/** @param text the value. Absent: the key alone */
function elementOf(key: string, text?: string): Uint8Array {
  const parts = [dataOf(elementAttribute.key, field.address, key)];
  if (text !== undefined) {
    const { value, comment } = partsOfValue(text);
    if (value.startsWith("limit"))
      parts.push(bytesAttribute(elementAttribute.expression, limitOverBody(parseLimitText(value))));
    else parts.push(dataOf(elementAttribute.data, field.class, value));
    if (comment !== undefined) parts.push(bytesAttribute(elementAttribute.userdata, commentData(comment)));
  }
  return bytesAttribute(NFTA_LIST_ELEM, concatBytes(...parts));
}

function dataOf(type: number, of: Field, text: string): Uint8Array {
  const value = of.parse(text);
  if (Number.isNaN(value)) throw new TypeError(`not an element: ${text}`);
  const bytes = new Uint8Array(fieldBytes);
  writeField(new DataView(bytes.buffer), 0, of, value);
  return bytesAttribute(type, bytesAttribute(NFTA_DATA_VALUE, bytes));
}
