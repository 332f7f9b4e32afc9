/** Plans one table: its owned chains and the hooks that jump to them, as the lines of one transaction. */
import { type Chunked, everyNth, filterChunked, forEachChunked, runSync } from "../../chunked.ts";
import {
  deleteChain,
  deleteRule,
  insertRule,
  resetChain,
  restoreInputChunked,
} from "../../iptables/restore.ts";
import { jumpTo, type Rule, type TableName } from "../../iptables/rule.ts";
import type { TableRules } from "../../iptables/save.ts";
import type { Change } from "../../model/change.ts";
import {
  type EditLimits,
  editsByHandle,
  editsByTool,
  type LinesPlan,
  nothing,
  planChain,
  subsystemOf,
} from "./chain.ts";
import type { WantedHook, WantedTable } from "./layout.ts";

export interface TablePlan {
  readonly table: TableName;
  /** Input of `iptables-restore --noflush`. `undefined` if there is nothing to do. */
  readonly input: string | undefined;
  readonly changes: readonly Change[];
}

/** @param observed - `undefined` if the kernel has no such table */
export function planTable(
  wanted: WantedTable,
  observed: TableRules = new Map(),
  limits: EditLimits = editsByTool,
): TablePlan {
  return runSync(planTableChunked(wanted, observed, limits));
}

export function* planTableChunked(
  wanted: WantedTable,
  observed: TableRules = new Map(),
  limits: EditLimits = editsByTool,
): Chunked<TablePlan> {
  return yield* tablePlan(wanted, yield* planLines(wanted, observed, limits));
}

export interface TablePlanBothWays extends TablePlan {
  /** The same change as single deletions, if there are too many for the tool. For a driver that deletes by handle. */
  readonly removals: string | undefined;
}

/** Plans for the tool. If the plan only deletes rules, also for a driver that deletes by handle. */
export function* planBothWaysChunked(
  wanted: WantedTable,
  observed: TableRules | undefined,
): Chunked<TablePlanBothWays> {
  const byHandle = yield* planLines(wanted, observed ?? new Map(), editsByHandle);
  yield;
  const { lines, changes } = byHandle;
  const isMany = lines.length > editsByTool.deletes && lines.every((line) => line.startsWith("-D "));
  if (!isMany) return { ...(yield* tablePlan(wanted, byHandle)), removals: undefined };
  const byTool = yield* planTableChunked(wanted, observed, editsByTool);
  return { ...byTool, changes, removals: yield* restoreInputChunked(wanted.table, lines) };
}

type Lines = Omit<LinesPlan, "resets">;

function* tablePlan({ table }: WantedTable, { lines, changes }: Lines): Chunked<TablePlan> {
  yield;
  const input = lines.length === 0 ? undefined : yield* restoreInputChunked(table, lines);
  return { table, input, changes };
}

/** If there are too many deletions beside other lines, plans again without the allowance for deletions alone. */
function* planLines(wanted: WantedTable, observed: TableRules, limits: EditLimits): Chunked<Lines> {
  const plan = yield* planParts(wanted, observed, limits.deletes);
  let deletes = 0;
  yield* forEachChunked(plan.lines, lookedAtOnce, (line) => {
    if (line.startsWith("-D ")) deletes++;
  });
  const isAlone = deletes === plan.lines.length;
  return deletes <= limits.lines || isAlone ? plan : yield* planParts(wanted, observed, limits.lines);
}

function* planParts(wanted: WantedTable, observed: TableRules, maxDeletes: number): Chunked<Lines> {
  const parts: LinesPlan[] = [];
  for (const chain of wanted.chains) {
    parts.push(yield* planChain(chain, observed.get(chain.name), maxDeletes));
    yield;
  }
  for (const hook of wanted.hooks)
    parts.push(yield* planHook(hook, wanted.absent, observed.get(hook.chain) ?? []));
  for (const chain of wanted.absent) parts.push(yield* planAbsent(chain, wanted, observed));
  return {
    lines: [...parts.flatMap(({ resets }) => resets), ...parts.flatMap((part) => part.lines)],
    changes: parts.flatMap(({ changes }) => changes),
  };
}

/** True if the hook's jumps are correct. Rules that the hook does not mention belong to others. */
export function isHooked(hook: WantedHook, observed: readonly Rule[]): boolean {
  if (hook.position === "first")
    return hook.rules.every((rule, index) => observed[index]?.text === rule.text);
  return hook.rules.every((rule) => observed.some(({ text }) => text === rule.text));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

function* planHook(
  hook: WantedHook,
  absent: readonly string[],
  observed: readonly Rule[],
): Chunked<LinesPlan> {
  const leaving = new Set(absent.map((chain) => jumpTo(chain).text));
  const unhooked = yield* filterChunked(observed, lookedAtOnce, ({ text }) => leaving.has(text));
  const staying = yield* filterChunked(observed, lookedAtOnce, ({ text }) => !leaving.has(text));
  const { surplus, missing } = yield* hookDifference(hook, staying);
  const lines = [
    ...[...unhooked, ...surplus].map((rule) => change("remove", rule, deleteRule(hook.chain, rule))),
    ...missing.map((rule, index) => change("add", rule, insertRule(hook.chain, index + 1, rule))),
  ];
  return { resets: [], lines: lines.map(({ text }) => text), changes: lines };
}

/** What to delete, and then what to insert from the first position on. */
function* hookDifference(hook: WantedHook, observed: readonly Rule[]) {
  const own = new Map(hook.rules.map((rule) => [rule.text, rule]));
  const jumps = yield* filterChunked(observed, lookedAtOnce, ({ text }) => own.has(text));
  if (hook.position === "first") {
    const isRight = jumps.length === hook.rules.length && isHooked(hook, observed);
    return isRight ? { surplus: [], missing: [] } : { surplus: jumps, missing: hook.rules };
  }
  // A missing jump goes to the front: no other rule may decide about a mapped address before it.
  const same = (rule: Rule) => jumps.filter(({ text }) => text === rule.text);
  return {
    surplus: hook.rules.flatMap((rule) => same(rule).slice(1)),
    missing: hook.rules.filter((rule) => same(rule).length === 0),
  };
}

function* planAbsent(chain: string, wanted: WantedTable, observed: TableRules): Chunked<LinesPlan> {
  const rules = observed.get(chain);
  if (rules === undefined) return nothing;
  // If a foreign rule jumps to the chain, the kernel refuses the deletion and the whole transaction. An empty chain
  // does no harm.
  const isNeeded = yield* isReferenced(chain, wanted, observed);
  if (isNeeded && rules.length === 0) return nothing;
  const text = isNeeded ? resetChain(chain) : deleteChain(chain);
  return {
    resets: rules.length === 0 ? [] : [resetChain(chain)],
    lines: isNeeded ? [] : [deleteChain(chain)],
    changes: [{ action: "remove", subsystem: subsystemOf(chain), text }],
  };
}

/**
 * Rules deleted in the same transaction do not count as references: the hooks' own jumps, and the rules of other absent
 * chains.
 */
function* isReferenced(
  chain: string,
  { hooks, absent }: WantedTable,
  observed: TableRules,
): Chunked<boolean> {
  const ownJump = jumpTo(chain).text;
  const hooked = new Set(hooks.map((hook) => hook.chain));
  const isDue = everyNth(lookedAtOnce);
  for (const [name, rules] of observed) {
    if (absent.includes(name)) continue;
    for (const { text } of rules) {
      if (isDue()) yield;
      if (text.includes(chain) && !(hooked.has(name) && text === ownJump)) return true;
    }
  }
  return false;
}

function change(action: Change["action"], jump: Rule, text: string): Change {
  const target = jump.spec?.target;
  return { action, subsystem: subsystemOf(target?.kind === "jump" ? target.chain : ""), text };
}
