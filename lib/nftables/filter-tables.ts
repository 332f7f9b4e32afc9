/** Guard and gates as values: their tables as read from the kernel, and the transactions that change them. */
import { type Chunked, forEachChunked, runSync } from "../chunked.ts";
import { isSameMap, memoizeLast } from "../memoize.ts";
import type { InterfaceName } from "../model/names.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import type { apiCounter } from "./api-guard.ts";
import { type DefinitionLines, isSameDefinition, linesOf } from "./definition-lines.ts";
import {
  type Counted,
  deleteTable,
  newChain,
  newCounter,
  newGuardSet,
  newPlainChain,
  newRule,
  newTable,
} from "./definition-messages.ts";
import { encodeAddChunked, encodeDeleteChunked, encodeFlush } from "./encode-elements.ts";
import {
  allFilterTables,
  type ByFilterTable,
  byFilterTable,
  type FilterTable,
  filterTableNames,
} from "./filter-table-names.ts";
import { type FilterInterfaces, filterTablesContents } from "./filter-table-rules.ts";
import type { PolicyCounter } from "./qos.ts";
import { type ByGuardSet, type GuardElements, type GuardSet, guardSetNames } from "./sets.ts";

/**
 * The counters of drops, by the table that holds them: the reason and the direction. Of guard and gate: out of the VPC, or
 * towards EIPs. Of BFD: sent by the gateway, or to it.
 */
export const dropCounters = {
  guard: ["guard_invalid_egress", "guard_invalid_ingress", "guard_misrouted_ingress"],
  gate: ["gate_egress"],
  bfd: ["gate_bfd_egress", "gate_bfd_ingress"],
  set: [],
} as const satisfies Record<FilterTable, readonly string[]>;
export type DropCounter = (typeof dropCounters)[FilterTable][number] | typeof apiCounter | PolicyCounter;

/** The value of each counter that exists. */
export type DropCounts = ReadonlyMap<DropCounter, Counted>;

/** The tables as read from the kernel. */
export interface ObservedFilterTables {
  /** By table; `undefined`: the kernel has no such table. */
  readonly definitions: ByFilterTable<DefinitionLines>;
  /** Elements of the guard's sets. A set with another definition counts as empty. */
  readonly elements: GuardElements;
}

export function isSameFilterTables(one: ObservedFilterTables, other: ObservedFilterTables): boolean {
  return (
    one === other ||
    (allFilterTables.every((name) => isSameDefinition(one.definitions[name], other.definitions[name])) &&
      guardSetNames.every((set) => isSameMap(one.elements[set], other.elements[set])))
  );
}

/** One transaction. */
export interface FilterTablesTransaction {
  readonly definitions: Partial<ByFilterTable<FilterTablesChange>>;
  /** What to delete from the guard's sets. The sets of a table that is created are empty. */
  readonly remove: ByGuardSet<Removal>;
  readonly add: GuardElements;
}

/** Elements to delete from a set, or all that it has, whatever they are. */
export type Removal = readonly string[] | "all";

/** Deletes the table if `isReplaced`, then creates it with `make`. Without `make` it is only deleted. */
export interface FilterTablesChange {
  readonly make: FilterInterfaces | undefined;
  readonly isReplaced: boolean;
}

/** @param counts the initial values of the counters of tables that are created */
export function encodeFilterTables(
  ...given: Parameters<typeof encodeFilterTablesChunked>
): readonly NetlinkMessage[] {
  return runSync(encodeFilterTablesChunked(...given));
}

/** The same in parts. */
export function* encodeFilterTablesChunked(
  { definitions, remove, add }: FilterTablesTransaction,
  counts: DropCounts = new Map(),
): Chunked<readonly NetlinkMessage[]> {
  const tables = allFilterTables.flatMap((name) => {
    const { make, isReplaced = false } = definitions[name] ?? {};
    return [
      ...(isReplaced ? [deleteTable(filterTableNames[name])] : []),
      ...(make === undefined ? [] : encodeFilterTable(name, make, counts)),
    ];
  });
  const messages: NetlinkMessage[] = [...tables];
  for (const set of guardSetNames) messages.push(...(yield* encodeRemoval(set, remove[set])));
  for (const set of guardSetNames) messages.push(...(yield* encodeAddChunked(set, add[set])));
  return messages;
}

function* encodeRemoval(set: GuardSet, removal: Removal): Chunked<readonly NetlinkMessage[]> {
  return removal === "all" ? [encodeFlush(set)] : yield* encodeDeleteChunked(set, removal);
}

/** The table as lines, as a dump of it would give them. */
export function filterTableLines(
  name: FilterTable,
  { isUnnamed = false, vpcInterface, outsides }: FilterInterfaces,
): readonly string[] {
  return lastLines[name](isUnnamed, vpcInterface, ...outsides);
}

// Every pass asks for the same lines.
const lastLines = byFilterTable((name) =>
  memoizeLast((isUnnamed: boolean, vpcInterface: InterfaceName, ...outsides: readonly InterfaceName[]) =>
    linesOf(
      encodeFilterTable(name, { isUnnamed, vpcInterface, outsides }, new Map()),
      filterTableNames[name],
    ),
  ),
);

/** Creates the whole table, without elements. */
function encodeFilterTable(
  name: FilterTable,
  interfaces: FilterInterfaces,
  counts: DropCounts,
): readonly NetlinkMessage[] {
  const table = filterTableNames[name];
  const { chains, plainChains = [], rules } = filterTablesContents[name](interfaces);
  return [
    newTable(table),
    ...dropCounters[name].map((counter) => newCounter(counter, table, counts.get(counter))),
    ...(name === "guard" ? guardSetNames.map(newGuardSet) : []),
    ...chains.map((chain) => newChain(chain, table)),
    ...plainChains.map((chain) => newPlainChain(chain, table)),
    ...rules.map(([chain, ...expressions]) => newRule(chain, expressions, table)),
  ];
}

/** The keys of a set that were written, or all that it has. */
export type TouchedKeys = ReadonlySet<string> | "all";

/** What transactions touch, by set. In parts. */
export function* touchedElements(
  transactions: readonly FilterTablesTransaction[],
): Chunked<ReadonlyMap<GuardSet, TouchedKeys>> {
  const touched = new Map<GuardSet, TouchedKeys>();
  for (const set of guardSetNames) touched.set(set, yield* touchedIn(set, transactions));
  return touched;
}

function* touchedIn(set: GuardSet, transactions: readonly FilterTablesTransaction[]): Chunked<TouchedKeys> {
  const keys = new Set<string>();
  for (const { add, remove } of transactions) {
    const { [set]: removal } = remove;
    if (removal === "all") return "all";
    for (const some of [removal, add[set].keys()])
      yield* forEachChunked(some, lookedAtOnce, (key) => keys.add(key));
  }
  return keys;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** True if a table is created or deleted. */
export function touchesDefinitions({ definitions }: FilterTablesTransaction): boolean {
  return Object.keys(definitions).length > 0;
}
