/** Encodes the table that counts the traffic of EIPs, and changes of its elements. */
import { type Chunked, everyNth } from "../chunked.ts";
import { bytesAttribute, concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import {
  type AccountedInterface,
  type AccountingDefinition,
  type AccountingTransaction,
  accountingTable,
  addressSet,
  type CounterSet,
  counterSets,
  eipSet,
  fullSet,
  lengthSet,
  type RawCounts,
} from "./accounting.ts";
import { linesOf } from "./definition-lines.ts";
import {
  type Counted,
  counterExpression,
  deleteTable,
  newAddressSet,
  newChain,
  newFieldSet,
  newRule,
  newTable,
} from "./definition-messages.ts";
import { encodeList } from "./encode-elements.ts";
import {
  bitwise,
  compare,
  type Expression,
  ifName,
  loadMeta,
  loadPacket,
  member,
  register,
  toNetworkOrder,
  update,
} from "./expressions.ts";
import { field, fieldBytes, writeField } from "./fields.ts";
import type { ElementMap } from "./maps.ts";
import { fullLengths } from "./segments.ts";
import {
  elementAttribute,
  elementListAttribute,
  inetHeader,
  messageType,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  NFTA_SET_DESC_SIZE,
  setAttribute,
  setFlag,
} from "./wire.ts";

const [r1, r2] = register;

const noDescription = bytesAttribute(setAttribute.description, new Uint8Array());
/** The size that the kernel gives to a dynamic set without a size. */
const dumpedSize = bytesAttribute(setAttribute.description, netU32Attribute(NFTA_SET_DESC_SIZE, 0xffff));
/** Attributes of `update` that the kernel dumps even if they are zero: its timeout and its flags. */
const dumpedZeros = [bytesAttribute(6, new Uint8Array(8)), netU32Attribute(9, 0)];

/** User data for nft: keys (0) are big-endian (2). */
const keysAreBigEndian = bytesAttribute(setAttribute.userdata, Uint8Array.of(0, 4, 2, 0, 0, 0));
/**
 * User data for nft, which has no type for a length: keys (0) are in host byte order (1) and have the type (3) of an
 * expression (0), meta (9), whose key (1, 0) is the length (0).
 */
const lengthKeys = bytesAttribute(
  setAttribute.userdata,
  Uint8Array.of(0, 4, 1, 0, 0, 0, 3, 14, 0, 4, 9, 0, 0, 0, 1, 6, 0, 4, 0, 0, 0, 0),
);

/** Before everything else, and after everything that may drop a packet. */
const chains = [
  { name: "prerouting", type: "filter", hook: "prerouting", priority: -300 },
  { name: "postrouting", type: "filter", hook: "postrouting", priority: 310 },
] as const;

/** @param counts what the counters of a table that is made, and of EIPs that are added, begin at */
export function* encodeAccounting(
  { definition, add, remove }: AccountingTransaction,
  counts: RawCounts = new Map(),
): Chunked<readonly NetlinkMessage[]> {
  const messages: NetlinkMessage[] = [];
  if (definition?.isReplaced) messages.push(deleteTable(accountingTable));
  if (definition?.make !== undefined) messages.push(...encodeAccountingDefinition(definition.make));
  const isDue = everyNth(chunksAtOnce);
  for (const some of chunksOf(remove)) {
    if (isDue()) yield;
    messages.push(keysMessage(messageType.deleteElements, 0, eipSet, some));
  }
  for (const some of chunksOf(add)) {
    if (isDue()) yield;
    messages.push(keysMessage(messageType.newElements, messageFlag.create, eipSet, some));
    for (const set of counterSets) {
      const seeds = some.flatMap((eip): readonly Seed[] => {
        const counted = counts.get(eip)?.[set];
        return counted === undefined ? [] : [[eip, counted]];
      });
      if (seeds.length > 0) messages.push(seedMessage(set, seeds));
    }
  }
  return messages;
}

/**
 * Removes the counters of EIPs, those that exist: the kernel refuses to delete one that does not, so each is added first.
 * For EIPs that are no elements of `eips` any more, so that no packet adds them again.
 */
export function encodeDeleteCounters(eips: readonly string[]): readonly NetlinkMessage[] {
  return chunksOf(eips).flatMap((some) =>
    counterSets.flatMap((set) => [
      keysMessage(messageType.newElements, messageFlag.create, set, some),
      keysMessage(messageType.deleteElements, 0, set, some),
    ]),
  );
}

/** Requests the elements of a set. The sender adds NLM_F_DUMP. */
export function dumpAccounted(set: CounterSet | typeof eipSet): NetlinkMessage {
  return { type: messageType.getElements, flags: 0, payload: listHeader(set) };
}

/** The table without EIPs. */
export function encodeAccountingDefinition(definition: AccountingDefinition): readonly NetlinkMessage[] {
  return [
    newTable(accountingTable),
    newEipSet(),
    ...counterSets.map((name, at) => newCounterSet(name, at + 2)),
    newFullSet(definition),
    ...fullElements(definition),
    ...rulesOf(definition),
  ];
}

/** The lines that a dump of the table gives: the kernel limits the sets that packets add to. */
export function accountingLines(definition: AccountingDefinition): readonly string[] {
  const messages = [
    newTable(accountingTable),
    newEipSet(),
    ...counterSets.map((name, at) => newCounterSet(name, at + 2, dumpedSize)),
    newFullSet(definition),
    ...rulesOf(definition, dumpedZeros),
  ];
  return linesOf(messages, accountingTable);
}

/** The line of each set in a definition. Only the elements of a set with this line can be read. */
export const accountingSetLines: ReadonlyMap<CounterSet | typeof eipSet, string> = new Map(
  ([eipSet, ...counterSets] as const).map((name) => [name, lineOfSet(name)]),
);

function lineOfSet(name: CounterSet | typeof eipSet): string {
  const set = name === eipSet ? newEipSet() : newCounterSet(name, 1, dumpedSize);
  return linesOf([newTable(accountingTable), set], accountingTable)[1] ?? "";
}

function newEipSet(): NetlinkMessage {
  return newAddressSet(accountingTable, eipSet, 1, [keysAreBigEndian, noDescription]);
}

function rulesOf(
  definition: AccountingDefinition,
  dumpedOnly: readonly Uint8Array[] = [],
): readonly NetlinkMessage[] {
  return [
    ...chains.map((chain) => newChain(chain, accountingTable)),
    ...definition.map((at) => newRule("prerouting", counting("in", at, dumpedOnly), accountingTable)),
    ...definition.map((at) => newRule("postrouting", counting("out", at, dumpedOnly), accountingTable)),
  ];
}

const protocolTcp = 6;
const tcpPush = 0x08;

function counting(
  direction: "in" | "out",
  { name, mtu }: AccountedInterface,
  dumpedOnly: readonly Uint8Array[],
): readonly Expression[] {
  return [
    ...ifName(direction === "in" ? "iifname" : "oifname", name),
    loadPacket(direction === "in" ? "destination" : "source", r1),
    member(eipSet),
    update(direction, ...dumpedOnly),
    loadMeta("length", r2),
    toNetworkOrder(r2),
    compare(r2, "greater", netU32(mtu)),
    update(`${direction}_gso`, ...dumpedOnly),
    loadMeta("l4proto", r2),
    compare(r2, "equal", Uint8Array.of(protocolTcp)),
    loadPacket("tcp flags", r2),
    bitwise(r2, Uint8Array.of(tcpPush), Uint8Array.of(0)),
    compare(r2, "not equal", Uint8Array.of(0)),
    loadMeta("length", r2),
    member(fullSet, r2, true),
    update(`${direction}_push`, ...dumpedOnly),
  ];
}

function newCounterSet(name: CounterSet, id: number, description = noDescription): NetlinkMessage {
  return newAddressSet(accountingTable, name, id, [
    keysAreBigEndian,
    netU32Attribute(setAttribute.flags, setFlag.dynamic),
    description,
    bytesAttribute(setAttribute.expression, counterExpression()),
  ]);
}

/** The kernel changes no element of a constant set that rules use, so a set with this line has these elements. */
function newFullSet(definition: AccountingDefinition): NetlinkMessage {
  const { size } = lengthsOf(definition);
  const set = { table: accountingTable, name: fullSet, id: counterSets.length + 2, key: field.length };
  return newFieldSet(set, [
    lengthKeys,
    netU32Attribute(setAttribute.flags, setFlag.constant),
    bytesAttribute(
      setAttribute.description,
      size === 0 ? new Uint8Array() : netU32Attribute(NFTA_SET_DESC_SIZE, size),
    ),
  ]);
}

/** In the transaction that makes the set, before the rules that use it. */
function fullElements(definition: AccountingDefinition): readonly NetlinkMessage[] {
  return chunksOf(Array.from(lengthsOf(definition), String)).map((some) =>
    keysMessage(messageType.newElements, messageFlag.create, fullSet, some, lengthSet),
  );
}

function lengthsOf(definition: AccountingDefinition): ReadonlySet<number> {
  return new Set(definition.flatMap(({ mtu }) => [...fullLengths(mtu)]));
}

type Seed = readonly [eip: string, counted: Counted];

function seedMessage(set: CounterSet, seeds: readonly Seed[]): NetlinkMessage {
  const elements = seeds.map(([eip, counted]) => seedElement(eip, counted));
  const payload = concatBytes(
    listHeader(set),
    bytesAttribute(elementListAttribute.elements, concatBytes(...elements)),
  );
  return { type: messageType.newElements, flags: messageFlag.create, payload };
}

function seedElement(eip: string, counted: Counted): Uint8Array {
  const key = new Uint8Array(fieldBytes);
  writeField(new DataView(key.buffer), 0, field.address, field.address.parse(eip));
  return bytesAttribute(
    NFTA_LIST_ELEM,
    concatBytes(
      bytesAttribute(elementAttribute.key, bytesAttribute(NFTA_DATA_VALUE, key)),
      bytesAttribute(elementAttribute.expression, counterExpression(counted)),
    ),
  );
}

function keysMessage(
  type: number,
  flags: number,
  set: string,
  keys: readonly string[],
  spec: ElementMap = addressSet,
): NetlinkMessage {
  const payload = encodeList(
    listHeader(set),
    spec,
    keys.map((key) => [key, ""]),
  );
  return { type, flags, payload };
}

function listHeader(set: string): Uint8Array {
  return concatBytes(
    inetHeader,
    textAttribute(elementListAttribute.table, accountingTable),
    textAttribute(elementListAttribute.set, set),
  );
}

function netU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** With a counter an element takes 64 bytes: below 64 KiB, the limit of a list. */
const elementsAtOnce = 800;
/** Takes a few milliseconds. */
const chunksAtOnce = 4;

function chunksOf<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / elementsAtOnce) }, (_, at) =>
    items.slice(at * elementsAtOnce, (at + 1) * elementsAtOnce),
  );
}
