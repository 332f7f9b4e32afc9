/** Encodes changes of the table of backends. */

import type { Protocol } from "../model/schema.ts";
import { bytesAttribute, concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import {
  type BackendsRule,
  type BackendsTransaction,
  backendsChain,
  backendsMap,
  backendsPriority,
  backendsTable,
  drawnMap,
  serviceFields,
} from "./backends.ts";
import {
  deleteTable,
  flushChain,
  message,
  newChain,
  newPlainChain,
  newRule,
  newTable,
} from "./definition-messages.ts";
import { encodeList } from "./encode-elements.ts";
import {
  compare,
  drawNumber,
  type Expression,
  hashNumber,
  loadMeta,
  loadPacket,
  lookupUnnamed,
  lookupVerdict,
  nat,
  register,
} from "./expressions.ts";
import { fieldBytes, protocolNumber, typeOf } from "./fields.ts";
import { encodeVerdicts } from "./verdicts.ts";
import {
  chainAttribute,
  elementListAttribute,
  inetHeader,
  messageType,
  NFTA_SET_DESC_SIZE,
  setAttribute,
  setFlag,
  verdictBytes,
  verdictType,
} from "./wire.ts";

const [r1, r2, r3, , r5] = register;

export function encodeBackends({
  definition,
  remove,
  drop,
  write,
  add,
}: BackendsTransaction): readonly NetlinkMessage[] {
  const chains = [...write];
  return [
    ...(definition === "replace" ? [deleteTable(backendsTable)] : []),
    ...(definition === undefined ? [] : encodeBackendsDefinition()),
    ...encodeVerdicts(
      messageType.deleteElements,
      0,
      [...remove].map((key) => [key, undefined]),
    ),
    ...drop.map((chain) => flushChain(chain, backendsTable)),
    ...drop.map(deleteChain),
    ...chains.flatMap(([chain, rule], index) => [
      rule.isNew ? newPlainChain(chain, backendsTable) : flushChain(chain, backendsTable),
      ...encodeRule(chain, rule, firstUnnamedId + index),
    ]),
    ...encodeVerdicts(messageType.newElements, messageFlag.create, [...add]),
  ];
}

/** The table without elements and without chains of DNATs. */
export function encodeBackendsDefinition(): readonly NetlinkMessage[] {
  return [
    newTable(backendsTable),
    newSet(backendsMap, 1, setFlag.map, serviceFields.length * fieldBytes, typeOf(serviceFields), [
      netU32Attribute(setAttribute.dataType, verdictType),
      netU32Attribute(setAttribute.dataLength, verdictBytes),
      bytesAttribute(setAttribute.description, new Uint8Array()),
    ]),
    newChain(
      { name: backendsChain, type: "nat", hook: "prerouting", priority: backendsPriority },
      backendsTable,
    ),
    newRule(
      backendsChain,
      [
        loadPacket("destination", r1),
        loadMeta("l4proto", r2),
        loadPacket("destination port", r3),
        lookupVerdict(backendsMap),
      ],
      backendsTable,
    ),
  ];
}

/** The rule of a chain, and before it the map that it draws from. @param id names the map within the transaction */
export function encodeRule(
  chain: string,
  { protocol, backends, isSticky = false }: BackendsRule,
  id: number,
): readonly NetlinkMessage[] {
  const header = concatBytes(
    inetHeader,
    textAttribute(elementListAttribute.table, backendsTable),
    textAttribute(elementListAttribute.set, unnamed),
    netU32Attribute(elementListAttribute.setId, id),
  );
  const elements = backends.map(({ ip, port }, index) => [`${index}`, `${ip} . ${port}`] as const);
  return [
    unnamedMap(backends.length, id),
    {
      type: messageType.newElements,
      flags: messageFlag.create,
      payload: encodeList(header, drawnMap, elements),
    },
    newRule(chain, ruleExpressions({ protocol, size: backends.length, isSticky }, id), backendsTable),
  ];
}

/** nft's name for sets without one: the kernel puts in a number. */
const unnamed = "__map%d";
/** Behind the ids of the named ones. */
const firstUnnamedId = 2;

/** An anonymous map: the kernel deletes it together with the rule that looks it up. */
export function unnamedMap(size: number, id: number): NetlinkMessage {
  const { key, value } = drawnMap;
  const flags = setFlag.anonymous | setFlag.constant | setFlag.map;
  return newSet(unnamed, id, flags, key.length * fieldBytes, integerType, [
    netU32Attribute(setAttribute.dataType, typeOf(value)),
    netU32Attribute(setAttribute.dataLength, value.length * fieldBytes),
    bytesAttribute(setAttribute.description, netU32Attribute(NFTA_SET_DESC_SIZE, size)),
  ]);
}

/** nft's number for the type of what `numgen` and `jhash` give. */
const integerType = 4;

/** All that the expressions of a rule depend on; the backends are in its map. */
export interface RuleShape {
  readonly protocol: Protocol;
  readonly size: number;
  readonly isSticky?: boolean;
}

export function ruleExpressions(
  { protocol, size, isSticky = false }: RuleShape,
  id: number,
): readonly Expression[] {
  return [
    loadMeta("l4proto", r1),
    compare(r1, "equal", Uint8Array.of(protocolNumber(protocol))),
    ...(isSticky ? [loadPacket("source", r5), hashNumber(r5, r1, size, 0)] : [drawNumber(r1, size, 0)]),
    lookupUnnamed(unnamed, id),
    nat("dnat", { withPort: true }),
  ];
}

function newSet(
  name: string,
  id: number,
  flags: number,
  keyBytes: number,
  keyType: number,
  more: readonly Uint8Array[],
): NetlinkMessage {
  return message(messageType.newSet, messageFlag.create, [
    textAttribute(setAttribute.table, backendsTable),
    textAttribute(setAttribute.name, name),
    netU32Attribute(setAttribute.flags, flags),
    netU32Attribute(setAttribute.keyType, keyType),
    netU32Attribute(setAttribute.keyLength, keyBytes),
    netU32Attribute(setAttribute.id, id),
    bytesAttribute(setAttribute.userdata, keyType === integerType ? hostOrderKey : anyOrderKey),
    ...more,
  ]);
}

/** User data for nft: the byte order of keys (0), host (1) for what `numgen` and `jhash` give, none for a concatenation. */
const hostOrderKey = Uint8Array.of(0, 4, 1, 0, 0, 0, 1, 4, 0, 0, 0, 0);
const anyOrderKey = Uint8Array.of(0, 4, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0);

function deleteChain(name: string): NetlinkMessage {
  return message(messageType.deleteChain, 0, [
    textAttribute(chainAttribute.table, backendsTable),
    textAttribute(chainAttribute.name, name),
  ]);
}

/** Asks for the elements of one set of the table. The sender adds NLM_F_DUMP. */
export function dumpSetElements(set: string): NetlinkMessage {
  return message(messageType.getElements, 0, [
    textAttribute(elementListAttribute.table, backendsTable),
    textAttribute(elementListAttribute.set, set),
  ]);
}
