/** The plain ruleset of one iptables variant with guard and gate: reads everything, or what single edits touched. */
import { additionsOf } from "../../../lib/iptables/additions.ts";
import { type ChainRemovals, removalsOfChunked } from "../../../lib/iptables/removals.ts";
import {
  differsByEdits,
  type EditedChain,
  editedChainsChunked,
  type Transaction,
} from "../../../lib/iptables/restore.ts";
import { joinDumps, type RuleDump } from "../../../lib/iptables/save.ts";
import { touchedChains } from "../../../lib/iptables/touched.ts";
import { isSameMap } from "../../../lib/memoize.ts";
import type { Family } from "../../../lib/model/family.ts";
import { type Commit, nextGeneration } from "../../../lib/nftables/commits.ts";
import type { DropCounts } from "../../../lib/nftables/filter-tables.ts";
import { parseDropCounts } from "../../../lib/plan/iptables/filter.ts";
import type { IptablesObserved } from "../../../lib/plan/iptables/observed.ts";
import type { IptablesPayload, IptablesStep, RulesStep } from "../../../lib/plan/iptables/payload.ts";
import { runYielding } from "../../run-yielding.ts";
import type { BackendsDriver } from "../nftables/backends.ts";
import type { FilterTablesDriver } from "../nftables/filter-tables.ts";
import type { EarlierReadings, KnownRuleset, PlainRuleset, StepResult } from "../plain-ruleset.ts";
import type { Run } from "../run.ts";
import type { Appended, RuleAppender } from "./append-by-example.ts";
import { type Find, isSameTables, NftTables } from "./nft-tables.ts";
import { orUndefined, readAll, readChains } from "./read.ts";
import { lostRace, type Refusal, restore, type Variant } from "./tools.ts";

export interface RulesetOptions {
  readonly family: Family;
  readonly run: Run;
  readonly readGeneration?: (signal: AbortSignal) => Promise<number>;
  /** `undefined` if no digest could be taken: then nothing is proved. */
  readonly readLegacyDigest?: () => Promise<string | undefined>;
  /** The tables of guard and gate. Absent, or `undefined`: there is no nft, and both are chains of filter. */
  readonly filterTables?: Find<FilterTablesDriver>;
  /** The table of DNATs with several backends. Absent, or `undefined`: there is no nft, and they are rules of SHARED_DNAT. */
  readonly backends?: Find<BackendsDriver>;
  /**
   * With nft: deletes rules if the generation is still this one.
   * @returns false if nothing was changed
   */
  readonly removeByHandle?: (
    generation: number,
    removals: readonly ChainRemovals[],
    signal: AbortSignal,
  ) => Promise<boolean>;
  /** With nft: appends a few rules without the tools where it can. */
  readonly appender?: RuleAppender;
}

type Known = KnownRuleset<IptablesObserved, IptablesPayload>;
type Earlier = EarlierReadings<IptablesObserved, IptablesPayload>;

/** Up to this many chains are listed individually, each with its own process. For more, everything is read. */
const maxListings = 2;

export class IptablesRuleset implements PlainRuleset<IptablesObserved, IptablesPayload> {
  readonly stampKind: "generation" | "digest";
  /** The tools read one consistent state. A stamp tells whether it is still current. */
  readonly isReadingAtomic = true;
  readonly readStamp: PlainRuleset<IptablesObserved, IptablesPayload>["readStamp"];
  readonly #variant: Variant;
  readonly #family: Family;
  readonly #run: Run;
  readonly #removeByHandle: RulesetOptions["removeByHandle"];
  readonly #appender: RulesetOptions["appender"];
  /** What own steps appended without the tools. */
  readonly #appended = new WeakMap<IptablesStep, readonly Appended[]>();
  readonly #tables: NftTables;

  constructor(variant: Variant, options: RulesetOptions) {
    const { readGeneration, readLegacyDigest, removeByHandle, appender, filterTables, backends } = options;
    this.#variant = variant;
    this.#family = options.family;
    this.#run = options.run;
    this.stampKind = variant === "legacy" ? "digest" : "generation";
    const readDigest = readLegacyDigest && ((signal: AbortSignal) => this.#digest(readLegacyDigest, signal));
    this.readStamp = variant === "legacy" ? readDigest : readGeneration;
    this.#removeByHandle = removeByHandle;
    this.#appender = variant === "nft" ? appender : undefined;
    this.#tables = new NftTables(filterTables, backends);
  }

  forget(): void {
    this.#tables.forget();
  }

  async readAll(earlier: Earlier, signal: AbortSignal): Promise<IptablesObserved> {
    const [rules, tables] = await Promise.all([this.#readRules(earlier, signal), this.#tables.read(signal)]);
    return { variant: this.#variant, rules, ...tables };
  }

  async readWritten(
    last: IptablesObserved,
    written: readonly IptablesStep[],
    earlier: Earlier & { readonly isStamped: boolean },
    signal: AbortSignal,
  ): Promise<IptablesObserved | undefined> {
    const transactions = written.flatMap((step) => (step.kind === "rules" ? [step.transaction] : []));
    const edited = await runYielding(editedChainsChunked(transactions));
    // With legacy one chain costs as much as all.
    const isPartial = this.#variant === "nft" && edited !== undefined && edited.length <= maxListings;
    const appended = await this.#readAppended(written, last.rules, signal);
    const isProved = earlier.isStamped && transactions.length === 0;
    const listed = isPartial
      ? () => this.#readChains(last.rules, edited, signal)
      : () => this.#readRules(earlier, signal);
    const rules = isProved ? last.rules : (appended ?? (await listed()));
    // Without a stamp, another program may have changed what the steps did not touch.
    const tables = await (earlier.isStamped
      ? this.#tables.readWritten(last, written, signal)
      : this.#tables.read(signal));
    const isExplained = edited === undefined ? earlier.isStamped : differsByEdits(last.rules, rules, edited);
    return isExplained ? { ...last, rules, ...tables } : undefined;
  }

  async readTouched(
    last: IptablesObserved,
    commit: Commit,
    signal: AbortSignal,
  ): Promise<IptablesObserved | undefined> {
    const touched = touchedChains(commit, last.rules, this.#family);
    if (touched === undefined || touched.length > maxListings) return undefined;
    const rules = await orUndefined(this.#readChains(last.rules, touched, signal));
    if (rules === undefined || !differsByEdits(last.rules, rules, touched)) return undefined;
    return { ...last, rules, ...(await this.#tables.readTouched(last, commit, signal)) };
  }

  /** The tables of nftables are not in the digest of the legacy tables. */
  digestAfter(digest: string, step: IptablesStep): string | undefined {
    return step.kind === "rules" ? undefined : afterNftCommit(digest);
  }

  /** The rules were read before the digest was taken. Only the tables of nftables were read after it. */
  async isStillAt(digest: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#tables.readGeneration(signal)) === generationOf(digest);
  }

  async write(
    step: IptablesStep,
    known: Known | undefined,
    isRetry: boolean,
    signal: AbortSignal,
  ): Promise<StepResult<IptablesPayload>> {
    const generation = typeof known?.stamp === "number" ? known.stamp : undefined;
    if (step.kind !== "rules") return this.#tables.write(step, generation, signal);
    const isFirst = !isRetry && known !== undefined;
    if (isFirst && (await this.#append(step, known, signal))) return { written: step };
    const handles = isFirst ? await this.#provedRemovals(step, known) : undefined;
    const refusal =
      handles === undefined
        ? await restore(this.#variant, step.transaction, this.#family, this.#run)
        : await this.#remove(handles, signal);
    if (refusal === undefined)
      return { written: handles === undefined ? step : { kind: "rules", transaction: handles.transaction } };
    const { error, kind } = refusal;
    const failure =
      kind === "refused"
        ? ({ kind, error, transaction: { steps: [step] } } as const)
        : ({ kind, error } as const);
    return { failure, isReadingValid: true };
  }

  /** A transaction can have any size, so it is read back without its events. */
  isReadByEvents(): boolean {
    return false;
  }

  /** What guard and gate dropped, as far as the kernel counts it now. */
  async readDrops(signal: AbortSignal): Promise<DropCounts> {
    const counts = await this.#tables.readDrops(signal);
    if (counts !== undefined) return counts;
    const { stdout } = await this.#run([`iptables-${this.#variant}-save`, "-c", "-t", "filter"], { signal });
    return parseDropCounts(stdout);
  }

  isSame(one: IptablesObserved, other: IptablesObserved): boolean {
    return isSameMap(one.rules, other.rules) && isSameTables(one, other);
  }

  /** Used if the table and its generation are known: the tool finds rules by text, handles by position. */
  async #provedRemovals(
    { transaction: byTool, removals: transaction = byTool }: RulesStep,
    { observed, stamp, written }: Known,
  ): Promise<Removals | undefined> {
    if (this.#removeByHandle === undefined || typeof stamp !== "number") return undefined;
    const isAsRead = written.every(
      (step) => step.kind !== "rules" || step.transaction.table !== transaction.table,
    );
    const removals = isAsRead ? await runYielding(removalsOfChunked(transaction, observed.rules)) : undefined;
    return removals && { transaction, removals, generation: stamp };
  }

  /** @returns true if the step was done; otherwise nothing was changed */
  async #append(step: RulesStep, { observed, stamp, written }: Known, signal: AbortSignal): Promise<boolean> {
    const { table } = step.transaction;
    const isAsRead = written.every((other) => other.kind !== "rules" || other.transaction.table !== table);
    if (this.#appender === undefined || typeof stamp !== "number" || !isAsRead) return false;
    const additions = additionsOf(step.transaction, this.#family);
    const appended = additions && (await this.#appender.append(stamp, additions, observed.rules, signal));
    if (appended === undefined) return false;
    this.#appended.set(step, appended);
    return true;
  }

  /** `undefined` if not all rules of these steps were appended so, or the kernel has something else. */
  async #readAppended(
    written: readonly IptablesStep[],
    before: RuleDump,
    signal: AbortSignal,
  ): Promise<RuleDump | undefined> {
    let rules: RuleDump | undefined;
    for (const step of written) {
      if (step.kind !== "rules") continue;
      const appended = this.#appended.get(step);
      rules = appended && (await this.#appender?.readBack(appended, rules ?? before, signal));
      if (rules === undefined) return undefined;
    }
    return rules;
  }

  async #remove(
    { transaction, removals, generation }: Removals,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const isDone = await this.#removeByHandle?.(generation, removals, signal);
    return isDone ? undefined : lostRace(transaction.table);
  }

  #readRules({ last, expected }: Earlier, signal: AbortSignal): Promise<RuleDump> {
    const before = last?.rules ?? new Map();
    const earlier = expected === undefined ? before : joinDumps(before, expected);
    return readAll(earlier, this.#variant, this.#family, this.#run, signal);
  }

  #readChains(before: RuleDump, chains: readonly EditedChain[], signal: AbortSignal): Promise<RuleDump> {
    return readChains(chains, before, this.#variant, this.#family, this.#run, signal);
  }

  /** The digest covers only the legacy tables. The generation of nf_tables covers the tables of nftables beside them. */
  async #digest(
    readRules: () => Promise<string | undefined>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const [digest, generation] = await Promise.all([readRules(), this.#tables.readGeneration(signal)]);
    return digest && stampOf(digest, generation);
  }
}

function stampOf(digest: string, generation: number | undefined): string {
  return `${digest} ${generation}`;
}

function generationOf(stamp: string): number {
  return Number(stamp.slice(stamp.lastIndexOf(" ") + 1));
}

/** The stamp after one commit to tables of nftables. */
function afterNftCommit(stamp: string): string {
  return stampOf(stamp.slice(0, stamp.lastIndexOf(" ")), nextGeneration(generationOf(stamp)));
}

/** A transaction that only deletes rules, and their positions at a generation. */
interface Removals {
  readonly transaction: Transaction;
  readonly removals: readonly ChainRemovals[];
  readonly generation: number;
}
