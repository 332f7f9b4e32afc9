/** Reads the table and the tables of other programs. */

import { GatewayError } from "../../../lib/model/errors.ts";
import { concatBytes, textAttribute } from "../../../lib/netlink/attributes.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { type Counter, forEachElement } from "../../../lib/nftables/decode-elements.ts";
import { DefinitionReader, readableMaps } from "../../../lib/nftables/definition-lines.ts";
import { dumpElements } from "../../../lib/nftables/encode-elements.ts";
import { foreignTable, isListable, parseListing, type TableLabel } from "../../../lib/nftables/foreign.ts";
import {
  type Elements,
  type ElementValues,
  type MapName,
  noElements,
  tableName,
} from "../../../lib/nftables/maps.ts";
import type { SetName } from "../../../lib/nftables/sets.ts";
import {
  anyHeader,
  inetHeader,
  messageType,
  objectAttribute,
  ruleAttribute,
  setAttribute,
} from "../../../lib/nftables/wire.ts";
import type { ObservedTable } from "../../../lib/plan/nftables/compare.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { orAbsent } from "../netlink/refusal.ts";
import type { Run } from "../run.ts";

export interface Reading {
  readonly table: ObservedTable;
  /** The tables of other programs. */
  readonly others: readonly TableLabel[];
}

/** The whole table. Needs several dumps: they are one state only if the generation is the same before and after. */
export async function readTable(netlink: NetlinkConnection, signal: AbortSignal): Promise<Reading> {
  const reader = new DefinitionReader(tableName);
  const others: TableLabel[] = [];
  const dump = (message: NetlinkMessage) =>
    netlink.dump(
      message,
      (type, view, start, end) => {
        const other = foreignTable(type, view, start, end);
        if (other !== undefined) others.push(other);
        reader.read(type, view, start, end);
      },
      signal,
      forget,
    );
  await dump(allTables);
  // The kernel refuses to dump the sets of a table that does not exist.
  if (reader.lines === undefined) return { table: { definition: undefined, elements: noElements }, others };
  await dump(allChains);
  await dump(ofTable(messageType.getSet, setAttribute.table));
  await dump(ofTable(messageType.getRule, ruleAttribute.table));
  const definition = reader.lines;
  return {
    table: { definition, elements: await readAllElements(netlink, readableMaps(definition), signal) },
    others,
  };
}

/** The elements of one map or set, by key. */
export async function readMap(
  netlink: NetlinkConnection,
  map: SetName,
  signal: AbortSignal,
): Promise<ElementValues> {
  const values = new Map<string, string>();
  await visitElements(netlink, map, (key, value) => values.set(key, value), signal);
  return values;
}

/** Called with each element of a map or set; the counter is reused. */
export async function visitElements(
  netlink: NetlinkConnection,
  map: SetName,
  visit: (key: string, value: string, counter: Counter) => void,
  signal: AbortSignal,
): Promise<void> {
  const onMessage = (type: number, view: DataView, start: number, end: number) => {
    if (type === messageType.newElements) forEachElement(map, view, start, end, visit);
  };
  await netlink.dump(dumpElements(map), onMessage, signal, forget);
}

/** The current listing of the other tables. */
export async function readForeign(
  netlink: NetlinkConnection,
  run: Run,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const others: TableLabel[] = [];
  const onMessage = (type: number, view: DataView, start: number, end: number) => {
    const other = foreignTable(type, view, start, end);
    if (other !== undefined) others.push(other);
  };
  await netlink.dump(allTables, onMessage, signal, () => others.splice(0));
  return listOthers(others, run, signal);
}

/** The nft listing of other tables, for people. If nft cannot list a table, one line says so. */
export async function listOthers(
  others: readonly TableLabel[],
  run: Run,
  signal: AbortSignal,
): Promise<readonly string[]> {
  // One run per table: nft 1.0.6 finds only the first of several tables listed in one run.
  const listings = await Promise.all(others.map((label) => listOther(label, run, signal)));
  return listings.flat();
}

async function listOther(label: TableLabel, run: Run, signal: AbortSignal): Promise<readonly string[]> {
  if (!isListable(label)) return [`${label} (nft cannot list it)`];
  try {
    const { stdout } = await run(["nft", "-n", "list", "table", ...label.split(" ")], { signal });
    return parseListing(stdout);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof GatewayError)) throw error;
    return [`${label} (not listed: ${error.message})`];
  }
}

export const allTables: NetlinkMessage = { type: messageType.getTable, flags: 0, payload: anyHeader };
export const allChains: NetlinkMessage = { type: messageType.getChain, flags: 0, payload: inetHeader };

/** Asks for the objects, sets and rules of one table. The kernel refuses if the table does not exist. */
export function contentsOf(table: string): readonly NetlinkMessage[] {
  return [
    ofTable(messageType.getObject, objectAttribute.table, table),
    ofTable(messageType.getSet, setAttribute.table, table),
    ofTable(messageType.getRule, ruleAttribute.table, table),
  ];
}

/** `undefined` if a table, chain or set was removed during the reading. */
export function orUndefinedWhereGone<T>(reading: Promise<T>): Promise<T | undefined> {
  return orAbsent(reading, ["ENOENT"]);
}

/** An interrupted dump means that the generation changed. The whole reading is then repeated. */
export function forget(): void {}

async function readAllElements(
  netlink: NetlinkConnection,
  maps: readonly MapName[],
  signal: AbortSignal,
): Promise<Elements> {
  const elements = { ...noElements };
  for (const map of maps) elements[map] = await readMap(netlink, map, signal);
  return elements;
}

/** Asks for what is in one table; `attribute` is the one that names it. */
export function ofTable(type: number, attribute: number, table = tableName): NetlinkMessage {
  return { type, flags: 0, payload: concatBytes(inetHeader, textAttribute(attribute, table)) };
}
