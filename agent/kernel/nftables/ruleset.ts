/** The plain ruleset of nftables with guard and gate: reads everything, or the elements that changed. */
import { type Chunked, everyNth } from "../../../lib/chunked.ts";
import { type Commit, touchedKeys } from "../../../lib/nftables/commits.ts";
import { definitionLines, isSameDefinition, readableMaps } from "../../../lib/nftables/definition-lines.ts";
import { isElementMessage } from "../../../lib/nftables/encode-elements.ts";
import { encodeTransactionChunked, type TableTransaction } from "../../../lib/nftables/encode-transaction.ts";
import { type FilterTablesTransaction, isSameFilterTables } from "../../../lib/nftables/filter-tables.ts";
import { isForeign } from "../../../lib/nftables/foreign.ts";
import { type Elements, type MapName, mapNames } from "../../../lib/nftables/maps.ts";
import { guardSetNames } from "../../../lib/nftables/sets.ts";
import type { NftablesObserved } from "../../../lib/plan/nftables/observed.ts";
import type { NftablesPayload, NftablesStep } from "../../../lib/plan/nftables/payload.ts";
import { runYielding } from "../../run-yielding.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import type { KnownRuleset, PlainRuleset, StepResult } from "../plain-ruleset.ts";
import type { Run } from "../run.ts";
import type { FilterTablesDriver } from "./filter-tables.ts";
import { listOthers, readForeign, readTable } from "./read.ts";
import { guardOrGate, refusalError, staleError, stepResult } from "./refusal.ts";
import { Rendering } from "./rendering.ts";
import { maxReadByKey, rereadElements } from "./reread.ts";
import { type Outcome, readGeneration, transact } from "./transaction.ts";

export interface RulesetOptions {
  readonly netlink: ConversingConnection;
  readonly run: Run;
  /** The tables of guard and gate, over the same connection. */
  readonly filterTables?: FilterTablesDriver;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

type Known = KnownRuleset<NftablesObserved, NftablesPayload>;

export class NftablesRuleset implements PlainRuleset<NftablesObserved, NftablesPayload> {
  readonly stampKind = "generation";
  /** Several dumps. */
  readonly isReadingAtomic = false;
  readonly #netlink: ConversingConnection;
  readonly #run: Run;
  readonly #filterTables: FilterTablesDriver;
  readonly #rendering = new Rendering();

  constructor({ netlink, run, filterTables }: Required<RulesetOptions>) {
    this.#netlink = netlink;
    this.#run = run;
    this.#filterTables = filterTables;
  }

  readStamp(signal: AbortSignal): Promise<number> {
    return readGeneration(this.#netlink, signal);
  }

  async readAll(_near: unknown, signal: AbortSignal): Promise<NftablesObserved> {
    const { table, others } = await readTable(this.#netlink, signal);
    const filterTables = await this.#filterTables.read(signal);
    const foreign = await listOthers(others, this.#run, signal);
    return { table, filterTables, foreign };
  }

  async readWritten(
    last: NftablesObserved,
    written: readonly NftablesStep[],
    _near: unknown,
    signal: AbortSignal,
  ): Promise<NftablesObserved | undefined> {
    const transactions = transactionsOf(written);
    if (transactions.some(({ definition }) => definition !== undefined)) return undefined;
    const guarded = written.flatMap((step) => (step.kind === "filterTables" ? [step.transaction] : []));
    const filterTables =
      guarded.length > 0
        ? await this.#filterTables.readWritten(last.filterTables, guarded, signal)
        : last.filterTables;
    const { definition, elements: before } = last.table;
    const keys = await runYielding(keysOf(transactions));
    const elements = await this.#reread(before, keys, signal);
    return { ...last, filterTables, table: { definition, elements } };
  }

  async readTouched(
    last: NftablesObserved,
    commit: Commit,
    signal: AbortSignal,
  ): Promise<NftablesObserved | undefined> {
    const { definition, elements: before } = last.table;
    const keys = touchedKeys(commit, definition === undefined ? [] : readableMaps(definition));
    if (keys === undefined) return undefined;
    const elements = await this.#reread(before, keys, signal);
    const isElsewhere = commit.tables.keys().some(isForeign);
    const foreign = isElsewhere ? await readForeign(this.#netlink, this.#run, signal) : last.foreign;
    return { ...last, foreign, table: { definition, elements } };
  }

  /** The kernel accepts a step only at the known generation. */
  async write(step: NftablesStep, known: Known | undefined): Promise<StepResult<NftablesPayload>> {
    if (known === undefined || typeof known.stamp !== "number") return stale();
    if (step.kind === "filterTables")
      return stepResult(step, await this.#filterTables.write(step.transaction, known.stamp), guardOrGate);
    const messages = await runYielding(encodeTransactionChunked(step.transaction));
    const outcome = await transact(this.#netlink, known.stamp, messages);
    switch (outcome.kind) {
      case "done":
        return { written: step };
      case "stale":
        return stale();
      case "refused":
        return {
          failure: { kind: "refused", error: refusalError(outcome) },
          isReadingValid: isOfElement(outcome),
        };
    }
  }

  /** Elements that are read back by map need no events. */
  isReadByEvents(step: NftablesStep): boolean {
    return step.kind === "filterTables" ? isBrief(step.transaction) : isReadByKey(step.transaction);
  }

  isSame(one: NftablesObserved, other: NftablesObserved): boolean {
    return (
      isSameDefinition(one.table.definition, other.table.definition) &&
      mapNames.every((map) => one.table.elements[map] === other.table.elements[map]) &&
      isSameFilterTables(one.filterTables, other.filterTables) &&
      (one.foreign === other.foreign || one.foreign.join("\n") === other.foreign.join("\n"))
    );
  }

  /** A reading right after a definition was created, before any other write, shows how this kernel dumps that definition. */
  recognize(read: NftablesObserved, written: readonly NftablesStep[]): NftablesObserved {
    const dumped = read.table.definition;
    const made = transactionsOf(written).findLast(({ definition }) => definition !== undefined)?.definition;
    if (made !== undefined) this.#rendering.learn(definitionLines(made.make), dumped);
    const definition = this.#rendering.recognize(dumped);
    return definition === dumped ? read : { ...read, table: { ...read.table, definition } };
  }

  #reread(before: Elements, keys: ReadonlyMap<MapName, ReadonlySet<string>>, signal: AbortSignal) {
    return rereadElements(this.#netlink, mapNames, before, keys, signal);
  }
}

function stale(): StepResult<NftablesPayload> {
  return { failure: { kind: "raced", error: staleError() }, isReadingValid: false };
}

/** The table was found and its elements were processed: only one of them is wrong. */
function isOfElement({ fault }: Extract<Outcome, { kind: "refused" }>): boolean {
  return fault !== undefined && isElementMessage(fault.message);
}

function transactionsOf(steps: readonly NftablesStep[]): readonly TableTransaction[] {
  return steps.flatMap((step) => (step.kind === "table" ? [step.transaction] : []));
}

function* keysOf(
  transactions: readonly TableTransaction[],
): Chunked<ReadonlyMap<MapName, ReadonlySet<string>>> {
  const keys = new Map<MapName, Set<string>>(mapNames.map((map) => [map, new Set()]));
  const isDue = everyNth(lookedAtOnce);
  for (const { add, remove } of transactions)
    for (const [map, touched] of keys) {
      for (const key of remove[map]) {
        if (isDue()) yield;
        touched.add(key);
      }
      for (const key of add[map].keys()) {
        if (isDue()) yield;
        touched.add(key);
      }
    }
  return keys;
}

function isReadByKey({ definition, add, remove }: TableTransaction): boolean {
  const keys = mapNames.reduce((sum, map) => sum + add[map].size + remove[map].length, 0);
  return definition === undefined && keys <= maxReadByKey;
}

function isBrief({ add, remove }: FilterTablesTransaction): boolean {
  return guardSetNames.every((set) => {
    const { [set]: removal } = remove;
    return removal !== "all" && add[set].size + removal.length <= maxReadByKey;
  });
}
