/**
 * What commits changed, from the events of group NFNLGRP_NFTABLES. The kernel sends one message for each added or
 * deleted rule, element, chain and so on, and at the end of each commit one with the new generation.
 */
import { GatewayError } from "../model/errors.ts";
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import { backendsTable } from "./backends.ts";
import { forEachElement } from "./decode-elements.ts";
import { tableLabel } from "./family.ts";
import { filterTableNames } from "./filter-table-names.ts";
import { type TableLabel, tableOf } from "./foreign.ts";
import { type MapName, mapNames, tableName } from "./maps.ts";
import { elementListAttribute, headerBytes, messageType, NFTA_GEN_ID, ruleAttribute } from "./wire.ts";

/** One commit, or several consecutive ones. */
export interface Commit {
  /** The new generation, of the last commit if there are several. */
  readonly generation: number;
  readonly tables: ReadonlyMap<TableLabel, Touched>;
}

/** What changed in one table. */
export interface Touched {
  /** True if anything but rules and elements changed: the table itself, a chain, a set. */
  readonly isRemade: boolean;
  /** The chains whose rules changed, with rules added minus rules deleted. */
  readonly growth: ReadonlyMap<string, number>;
  /** The keys of changed elements, only for the table `ip natgw`. */
  readonly keys: ReadonlyMap<MapName, ReadonlySet<string>>;
}

/** The generation after one more commit. The kernel skips 0. */
export function nextGeneration(generation: number): number {
  return (generation + 1) >>> 0 || 1;
}

/** Generations wrap around: the shorter distance decides which is earlier. */
export function isBefore(one: number, other: number): boolean {
  return ((one - other) | 0) < 0;
}

/** All commits after `generation` as one. `undefined` if one of them is missing. */
export function commitsSince(generation: number, commits: readonly Commit[]): Commit | undefined {
  const tables: Tables = new Map();
  let last = generation;
  for (const commit of commits) {
    if (!isBefore(generation, commit.generation)) continue;
    if (commit.generation !== nextGeneration(last)) return undefined;
    last = commit.generation;
    for (const [label, touched] of commit.tables) add(tableIn(tables, label), touched);
  }
  return { generation: last, tables };
}

/**
 * The changed keys in our maps, if nothing else of ours changed, guard and gate included. Otherwise `undefined`.
 *
 * @param maps the maps that have the expected definition
 */
export function touchedKeys(
  { tables }: Commit,
  maps: readonly MapName[],
): ReadonlyMap<MapName, ReadonlySet<string>> | undefined {
  if (touchesFilterTables(tables)) return undefined;
  const own = tables.get(tableLabel(tableName));
  if (own === undefined) return new Map();
  const isElsewhere =
    own.isRemade || own.growth.size > 0 || own.keys.keys().some((map) => !maps.includes(map));
  return isElsewhere ? undefined : own.keys;
}

/** Whether guard or gate changed. */
export function touchesFilterTables(tables: Commit["tables"]): boolean {
  return Object.values(filterTableNames).some((name) => tables.has(tableLabel(name)));
}

/** Whether something of the table of backends changed. */
export function touchesBackends(tables: Commit["tables"]): boolean {
  return tables.has(tableLabel(backendsTable));
}

/** Decodes events in their order. */
export class CommitReader {
  #tables: Tables = new Map();

  /**
   * @returns the commit that ends with this message
   * @throws GatewayError `unreadable` for anything but an nf_tables event. What was read before is then unusable.
   */
  read(type: number, view: DataView, start: number, end: number): Commit | undefined {
    if (type === messageType.newGeneration) {
      const commit = { generation: generationIn(view, start, end), tables: this.#tables };
      this.#tables = new Map();
      return commit;
    }
    const label = tableOf(view, start, end);
    if (type >> 8 !== messageType.newTable >> 8 || label === undefined)
      throw unreadable(`a message of type ${type}`);
    note(tableIn(this.#tables, label), label, type, view, start, end);
    return undefined;
  }
}

type Tables = Map<TableLabel, Touching>;

interface Touching extends Touched {
  isRemade: boolean;
  readonly growth: Map<string, number>;
  readonly keys: Map<MapName, Set<string>>;
}

function tableIn(tables: Tables, label: TableLabel): Touching {
  const table = tables.get(label) ?? { isRemade: false, growth: new Map(), keys: new Map() };
  tables.set(label, table);
  return table;
}

function keysIn({ keys }: Touching, map: MapName): Set<string> {
  const found = keys.get(map) ?? new Set();
  keys.set(map, found);
  return found;
}

function grow({ growth }: Touching, chain: string, rules: number): void {
  growth.set(chain, (growth.get(chain) ?? 0) + rules);
}

function add(table: Touching, { isRemade, growth, keys }: Touched): void {
  table.isRemade ||= isRemade;
  for (const [chain, rules] of growth) grow(table, chain, rules);
  for (const [map, touched] of keys) for (const key of touched) keysIn(table, map).add(key);
}

function note(
  table: Touching,
  label: TableLabel,
  type: number,
  view: DataView,
  start: number,
  end: number,
): void {
  switch (type) {
    case messageType.newRule:
    case messageType.deleteRule:
      grow(table, textIn(ruleAttribute.chain, view, start, end), type === messageType.newRule ? 1 : -1);
      return;
    case messageType.newElements:
    case messageType.deleteElements:
      if (label === tableLabel(tableName)) noteElements(table, view, start, end);
      return;
    default:
      table.isRemade = true;
  }
}

/** Elements of a set that is not ours show that the table differs from what the agent wrote. */
function noteElements(table: Touching, view: DataView, start: number, end: number): void {
  const set = textIn(elementListAttribute.set, view, start, end);
  const map = mapNames.find((name) => name === set);
  if (map === undefined) {
    table.isRemade = true;
    return;
  }
  let count = 0;
  forEachElement(map, view, start, end, (key) => {
    keysIn(table, map).add(key);
    count++;
  });
  if (count === 0) throw unreadable(`a message with no elements of ${map}`);
}

function generationIn(view: DataView, start: number, end: number): number {
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === NFTA_GEN_ID) return view.getUint32(requirePayload(view, at, end, 4));
  throw unreadable("a generation message without a number");
}

function textIn(attribute: number, view: DataView, start: number, end: number): string {
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === attribute)
      return readText(view, payloadOf(at), attributeEnd(view, at, end));
  throw unreadable("rules or elements without a table or a name");
}

function unreadable(what: string): GatewayError {
  return new GatewayError("unreadable", `cannot decode nf_tables events: ${what}`);
}
