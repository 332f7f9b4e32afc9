/**
 * Guard and gates as separate nftables tables, so that a flush of the nat table does not affect them.
 *
 * The guard drops what conntrack calls INVALID and an object's rules should have translated: from the VPC to the outside,
 * such packets skip NAT and would leave with their inner address; to an EIP, they would come to the gateway's own stack, whose
 * RST ends the live connection. It also keeps live connections alive while the nat table is flushed or gone, which would end every
 * one of them: its `ct state` keeps conntrack hooked, and its empty nat chain, on whichever hook, keeps the kernel translating
 * the packets of the flows that it knows. The gate drops what leaves the VPC for the outside untranslated, before conntrack
 * confirms it. The gate of BFD drops BFD between the gateway and the VPC.
 */
import { type Chunked, forEachChunked, runSync } from "../../chunked.ts";
import type { Change } from "../../model/change.ts";
import type { InterfaceName } from "../../model/names.ts";
import { type Program, ruledEips } from "../../model/program.ts";
import { type DefinitionLines, isSameDefinition } from "../../nftables/definition-lines.ts";
import { tableLabel } from "../../nftables/family.ts";
import { allFilterTables, type FilterTable, filterTableNames } from "../../nftables/filter-table-names.ts";
import type { FilterInterfaces } from "../../nftables/filter-table-rules.ts";
import {
  type FilterTablesTransaction,
  filterTableLines,
  type ObservedFilterTables,
} from "../../nftables/filter-tables.ts";
import {
  byGuardSet,
  type GuardElements,
  type GuardSet,
  guardElementsText,
  guardSetNames,
  noGuardElements,
} from "../../nftables/sets.ts";
import type { GateContext } from "../gate-state.ts";
import { compareGuardChunked, type GuardDifference, isNoDifference } from "../guard.ts";
import type { Phase } from "../phases.ts";

/** The external interfaces in a fixed order: the configured one and those that EIPs name. */
export function* outsideInterfaces(program: Program): Chunked<readonly InterfaceName[]> {
  const names = new Set([program.externalInterface]);
  for (const users of [ruledEips(program), program.pools])
    yield* forEachChunked<{ readonly interface: InterfaceName }>(users, lookedAtOnce, (user) =>
      names.add(user.interface),
    );
  names.delete(program.vpcInterface);
  return [...names].sort();
}

/** Both take a few milliseconds. */
const lookedAtOnce = 5_000;
const copiedAtOnce = 10_000;

export function filterInterfaces(program: Program): FilterInterfaces {
  return runSync(filterInterfacesChunked(program));
}

function* filterInterfacesChunked(program: Program): Chunked<FilterInterfaces> {
  return { vpcInterface: program.vpcInterface, outsides: yield* outsideInterfaces(program) };
}

/** True if a gate's table drops anything. */
export function holdsBack(gate: DefinitionLines): boolean {
  return gate?.some((line) => line.startsWith("rule ")) ?? false;
}

/** True if the gate's table may drop what is translated: it is not as the agent makes it, such as that of an older version. */
export function mayDropTranslated(program: Program, gate: DefinitionLines): boolean {
  if (!holdsBack(gate)) return false;
  const interfaces = filterInterfaces(program);
  return [interfaces, { ...interfaces, isUnnamed: true }].every(
    (one) => !isSameDefinition(gate, filterTableLines("gate", one)),
  );
}

/** One transaction, and the phase that it is due in. */
export interface FilterTablesPart {
  readonly phase: Phase;
  readonly transaction: FilterTablesTransaction;
  readonly changes: readonly Change[];
}

/**
 * The guard is always there, each gate while it is closed, the empty table once the store is set. An address enters the guard
 * before its NAT rules are written, and leaves it after they are deleted. Planning on the result plans nothing.
 *
 * @param wanted what the guard is to know of the program's objects
 */
export function planFilterTables(
  ...given: Parameters<typeof planFilterTablesChunked>
): readonly FilterTablesPart[] {
  return runSync(planFilterTablesChunked(...given));
}

/** The same in parts. */
export function* planFilterTablesChunked(
  program: Program,
  wanted: GuardElements,
  observed: ObservedFilterTables,
  gates: Omit<GateContext, "apiGuard">,
): Chunked<readonly FilterTablesPart[]> {
  const named = yield* filterInterfacesChunked(program);
  const interfaces: FilterInterfaces = gates.isSet === false ? { ...named, isUnnamed: true } : named;
  const isWanted = (name: FilterTable) => {
    if (name === "guard") return true;
    return name === "set" ? gates.isSet === true : gates[name] === "closed";
  };
  const plans = allFilterTables
    .map((name) => planTable(name, observed, isWanted(name) ? interfaces : undefined))
    .filter((plan) => plan !== undefined);
  const isGuardMade = plans.some(({ name }) => name === "guard");
  const held = isGuardMade ? noGuardElements : observed.elements;
  const { add, remove } = yield* compareGuardChunked(wanted, held);
  yield;
  const made = plans.filter(({ make }) => make !== undefined);
  const taken = plans.filter(({ make }) => make === undefined);
  return [
    yield* partOf("gate", made, { add }),
    yield* partOf("removals", [], { remove }, setsToEmpty(wanted, held)),
    yield* partOf("opening", taken, {}),
  ].filter(({ changes }) => changes.length > 0);
}

/** What the guard has to put in and to take out, in two transactions; none where there is nothing. */
export function planGuardElements({ add, remove }: GuardDifference): {
  readonly before: FilterTablesPart | undefined;
  readonly after: FilterTablesPart | undefined;
} {
  // If elements are both added and removed, both go into one transaction.
  const isBoth = !isNoDifference({ add }) && !isNoDifference({ remove });
  const before = runSync(partOf("gate", [], isBoth ? { add, remove } : { add }));
  const after = runSync(partOf("removals", [], isBoth ? {} : { remove }));
  return {
    before: before.changes.length > 0 ? before : undefined,
    after: after.changes.length > 0 ? after : undefined,
  };
}

interface TablePlan {
  readonly name: FilterTable;
  readonly make: FilterInterfaces | undefined;
  readonly isReplaced: boolean;
  readonly change: Change;
}

function planTable(
  name: FilterTable,
  { definitions }: ObservedFilterTables,
  make: FilterInterfaces | undefined,
): TablePlan | undefined {
  const observed = definitions[name];
  const wanted = make && filterTableLines(name, make);
  if (isSameDefinition(observed, wanted)) return undefined;
  const isReplaced = observed !== undefined;
  const action = wanted === undefined ? "remove" : isReplaced ? "replace" : "add";
  const contents = make === undefined || name === "set" ? "" : ` { ${describe(name, make)} }`;
  const text = `table ${tableLabel(filterTableNames[name])}${contents}`;
  const subsystem = name === "guard" ? "guard" : "gate";
  return { name, make, isReplaced, change: { action, subsystem, text } };
}

function describe(name: FilterTable, { vpcInterface, outsides, isUnnamed }: FilterInterfaces): string {
  if (name === "bfd")
    return isUnnamed ? "on any interface" : `iifname "${vpcInterface}"; oifname "${vpcInterface}"`;
  const ways = outsides.map((outside) => `iifname "${vpcInterface}" oifname "${outside}"`);
  if (name === "gate" && isUnnamed) ways.push(`oifname != "${vpcInterface}"`);
  return ways.join("; ");
}

/** Takes less than reading the set again, which follows its emptying. */
const deletedOneByOne = 1_000;

/** Sets that lose all of many elements: one request empties them. */
function setsToEmpty(wanted: GuardElements, held: GuardElements): ReadonlySet<GuardSet> {
  const isEmptied = (set: GuardSet) => wanted[set].size === 0 && held[set].size > deletedOneByOne;
  return new Set(guardSetNames.filter(isEmptied));
}

const nothing: GuardDifference["add"] = byGuardSet(() => []);

function* partOf(
  phase: Phase,
  made: readonly TablePlan[],
  { add = nothing, remove = nothing }: Partial<GuardDifference>,
  emptied: ReadonlySet<GuardSet> = new Set(),
): Chunked<FilterTablesPart> {
  const isWhole = made.some(({ name }) => name === "guard");
  const changes: Change[] = made.map(({ change }) => change);
  const added = byGuardSet(() => new Map<string, string>());
  for (const set of guardSetNames) {
    yield* forEachChunked(add[set], copiedAtOnce, (key) => added[set].set(key, ""));
    const note = (action: "add" | "remove", keys: readonly string[]) =>
      changes.push({ action, subsystem: "guard", text: guardElementsText(set, keys) });
    if (remove[set].length > 0) note("remove", remove[set]);
    // The change that makes the guard's table anew covers its elements: they are not listed.
    if (add[set].length > 0 && !isWhole) note("add", add[set]);
  }
  return {
    phase,
    transaction: {
      definitions: Object.fromEntries(made.map(({ name, make, isReplaced }) => [name, { make, isReplaced }])),
      remove: byGuardSet((set) => (emptied.has(set) ? "all" : remove[set])),
      add: added,
    },
    changes,
  };
}
