/**
 * The ruleset as this process knows it. A stamp tells whether it moved: with nft the generation of nf_tables, which each
 * commit of any writer raises by one; with legacy, whose kernel interface counts nothing, a digest of the tables. While
 * the stamp is what it was, or what own commits alone have made of it, what was read stays true but for what was written.
 *
 * So a look at a ruleset at rest costs no process, and a look after writes that of what they touched: own ones say so
 * themselves, those of others the journal of commits. All of it is read at the start, where nothing tells what was touched
 * or it is much, when a transaction came to a bad end, and every few minutes all the same.
 */
import { type ChainRemovals, removalsOf } from "../../../lib/iptables/removals.ts";
import {
  differsByEdits,
  type EditedChain,
  editedChains,
  type Transaction,
} from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { joinDumps, type RuleDump } from "../../../lib/iptables/save.ts";
import { touchedChains } from "../../../lib/iptables/touched.ts";
import { stabilize } from "../../../lib/memoize.ts";
import type { ObservedBarrier } from "../../../lib/nftables/barrier.ts";
import { nextGeneration } from "../../../lib/nftables/commits.ts";
import { type EditLimits, editsByHandle, editsByTool } from "../../../lib/plan/iptables/chain.ts";
import { applyBarrier, observeBarrier } from "../nftables/barrier.ts";
import type { CommitJournal } from "../nftables/journal.ts";
import type { Run } from "../run.ts";
import { type IptablesObserved, type IptablesStep, isDue, isSameReading, type Known } from "./known.ts";
import { orUndefined, readAll, readChains } from "./read.ts";
import { lostRace, type Refusal, restore, type Variant } from "./tools.ts";

export interface RulesetOptions {
  readonly run: Run;
  /** The variant, or how to choose it: asked by each observation until it answers. */
  readonly variant: Variant | VariantChooser;
  readonly readGeneration?: (signal: AbortSignal) => Promise<number>;
  /** Without it all is read whenever somebody else wrote. */
  readonly journal?: CommitJournal;
  /** `undefined` where it could not be taken: then nothing is proved. */
  readonly readLegacyDigest?: () => Promise<string | undefined>;
  /** With nft: takes rules away while the generation is this one. @returns false where nothing was changed */
  readonly removeByHandle?: (
    generation: number,
    removals: readonly ChainRemovals[],
    signal: AbortSignal,
  ) => Promise<boolean>;
}

/** Throws where there is no choice yet: then nothing is observed, and so nothing written. */
export type VariantChooser = (signal: AbortSignal) => Promise<Variant>;

/** Which of the steps was refused, and why. */
export interface Refused {
  readonly refusal: Refusal;
  readonly transaction: Transaction;
}

/** Chains that are listed one by one sooner than the whole is: each costs a process. */
const maxListings = 2;

export class Ruleset {
  readonly #run: Run;
  readonly #readGeneration: RulesetOptions["readGeneration"];
  readonly #journal: CommitJournal | undefined;
  readonly #readLegacyDigest: RulesetOptions["readLegacyDigest"];
  readonly #removeByHandle: RulesetOptions["removeByHandle"];
  #variant: Variant | VariantChooser;
  #known: Known | undefined;
  #expected: RuleDump | undefined;
  #ahead: Promise<void> | undefined;
  /** What reads the same as before keeps its identity, so that nothing has to be planned anew. */
  readonly #keep = stabilize(isSameReading);

  constructor(options: RulesetOptions) {
    const { run, variant, journal, readGeneration, readLegacyDigest, removeByHandle } = options;
    this.#run = run;
    this.#variant = variant;
    this.#journal = journal;
    this.#readGeneration = readGeneration;
    this.#readLegacyDigest = readLegacyDigest;
    this.#removeByHandle = removeByHandle;
  }

  /** nft until it is chosen. */
  get variant(): Variant {
    return typeof this.#variant === "function" ? "nft" : this.#variant;
  }

  async read(signal: AbortSignal): Promise<IptablesObserved> {
    await this.#ahead;
    return this.#read(signal);
  }

  /**
   * Says what the next reading should find. Rules that read just so are these very values: they are not parsed, and not
   * kept twice. What reads otherwise is what it is.
   */
  expect(rules: RuleDump): void {
    this.#expected = rules;
  }

  /**
   * Begins to read what was written while the caller turns to other things. The next {@link read} waits for it, and takes
   * it where the stamp proves it.
   */
  readAhead(signal: AbortSignal): void {
    // Without a stamp it could not be taken.
    if ((this.variant === "nft" ? this.#readGeneration : this.#readLegacyDigest) === undefined) return;
    const reading = this.variant === "legacy" ? this.#readUnproven(signal) : this.#read(signal);
    this.#ahead = reading.then(
      () => undefined,
      // Whatever it was, the next reading meets it again.
      () => undefined,
    );
  }

  /** Reads all, and leaves it to the next reading to prove it: with legacy a stamp is dear, and that takes one anyway. */
  async #readUnproven(signal: AbortSignal): Promise<void> {
    const stamp = await this.#stamp(signal);
    const auditedAtMs = performance.now();
    const rules = await this.#readAll(this.#known?.observed.rules ?? new Map(), signal);
    this.#learn({ rules, barrier: undefined }, stamp, auditedAtMs);
  }

  async #read(signal: AbortSignal): Promise<IptablesObserved> {
    if (typeof this.#variant === "function") this.#variant = await this.#variant(signal);
    const stamp = await this.#stamp(signal);
    const known = this.#known;
    if (known === undefined || stamp === undefined || isDue(known)) return this.#audit(stamp, signal);
    const read = stamp === known.stamp ? this.#follow(known, signal) : this.#catchUp(known, signal);
    return (await read) ?? this.#audit(stamp, signal);
  }

  /** The last reading, where the stamp proves it and no other is due. */
  async current(signal: AbortSignal): Promise<IptablesObserved | undefined> {
    const stamp = this.#known?.stamp;
    if (this.#unwritten === undefined || stamp === undefined) return undefined;
    return (await this.#stamp(signal)) === stamp ? this.#unwritten : undefined;
  }

  /** The last reading to change single rules of, where {@link readBack} will prove that it was true. */
  async base(signal: AbortSignal): Promise<IptablesObserved | undefined> {
    return this.variant === "legacy" ? this.#unwritten : this.current(signal);
  }

  /**
   * The last reading with what was written since, single rules of chains; `undefined` where anything else is not as it was.
   * Legacy needs no stamp for it: its tables are read whole.
   */
  async readBack(signal: AbortSignal): Promise<IptablesObserved | undefined> {
    const known = this.#known;
    if (known === undefined || isDue(known)) return undefined;
    if (this.variant === "legacy") return this.#readWritten({ ...known, stamp: undefined }, signal);
    if (known.stamp === undefined || (await this.#stamp(signal)) !== known.stamp) return undefined;
    return this.#follow(known, signal);
  }

  /** How many rules may be taken away one by one: by their handles where the positions can be proved. */
  get limits(): EditLimits {
    return this.#generation === undefined ? editsByTool : editsByHandle;
  }

  /** That the last reading is of, with nft and where rules can be taken away by it. */
  get #generation(): number | undefined {
    const stamp = this.#known?.stamp;
    return this.#removeByHandle === undefined || typeof stamp !== "number" ? undefined : stamp;
  }

  /**
   * Takes the steps one after the other, each in a transaction of its own. A transaction once begun is finished.
   *
   * @param byTool - leaves all of them to the tools, which go by what the rules say whoever wrote meanwhile
   */
  async write(
    steps: readonly IptablesStep[],
    signal: AbortSignal,
    byTool = false,
  ): Promise<Refused | undefined> {
    for (const step of steps) {
      signal.throwIfAborted();
      if (step.kind === "barrier") {
        await applyBarrier(step.input, this.#run);
      } else {
        const { transaction } = step;
        const refusal = byTool
          ? await restore(this.variant, transaction, this.#run)
          : await this.#writeRules(transaction, signal);
        if (refusal !== undefined) return { refusal, transaction };
      }
      this.#noteWritten(step);
    }
    return undefined;
  }

  async #writeRules(transaction: Transaction, signal: AbortSignal): Promise<Refusal | undefined> {
    const [known, generation] = [this.#known, this.#generation];
    const isAsRead = known !== undefined && !known.written.some((step) => isOfTable(step, transaction.table));
    const removals = isAsRead ? removalsOf(transaction, known.observed.rules) : undefined;
    if (generation === undefined || removals === undefined)
      return restore(this.variant, transaction, this.#run);
    const isDone = (await this.#removeByHandle?.(generation, removals, signal)) ?? false;
    return isDone ? undefined : lostRace(transaction.table);
  }

  /** Legacy makes no commits: its journal is never begun. */
  get #commits(): CommitJournal | undefined {
    return this.variant === "legacy" ? undefined : this.#journal;
  }

  get #unwritten(): IptablesObserved | undefined {
    const known = this.#known;
    return known === undefined || known.written.length > 0 || isDue(known) ? undefined : known.observed;
  }

  #noteWritten(step: IptablesStep): void {
    // A transaction may be of any size, and is read back without its events.
    this.#commits?.restart();
    if (this.#known === undefined) return;
    const { stamp, written } = this.#known;
    const next = typeof stamp === "number" ? nextGeneration(stamp) : undefined;
    this.#known = { ...this.#known, stamp: next, written: [...written, step] };
  }

  async #follow(known: Known, signal: AbortSignal): Promise<IptablesObserved | undefined> {
    return known.written.length === 0 ? known.observed : this.#readWritten(known, signal);
  }

  async #readWritten(known: Known, signal: AbortSignal): Promise<IptablesObserved | undefined> {
    const { observed, stamp, written } = known;
    const transactions = written.flatMap((step) => (step.kind === "rules" ? [step.transaction] : []));
    const edited = editedChains(transactions);
    const rules = await this.#readRules(observed.rules, edited, signal);
    const barrier = transactions.length < written.length ? await this.#readBarrier(signal) : observed.barrier;
    if (edited === undefined ? stamp === undefined : !differsByEdits(observed.rules, rules, edited))
      return undefined;
    if (stamp !== undefined && (await this.#stamp(signal)) !== stamp) return undefined;
    return this.#learn({ rules, barrier }, stamp, known.auditedAtMs);
  }

  /** The last reading with those few chains listed again that somebody touched since; `undefined` where more may be otherwise. */
  async #catchUp(known: Known, signal: AbortSignal): Promise<IptablesObserved | undefined> {
    const { observed, stamp, written, auditedAtMs } = known;
    if (written.length > 0 || typeof stamp !== "number") return undefined;
    const commit = this.#journal?.since(stamp);
    const touched = commit && touchedChains(commit, observed.rules);
    if (commit === undefined || touched === undefined || touched.length > maxListings) return undefined;
    const rules = await orUndefined(this.#readRules(observed.rules, touched, signal));
    if (rules === undefined || !differsByEdits(observed.rules, rules, touched)) return undefined;
    if ((await this.#stamp(signal)) !== commit.generation) return undefined;
    return this.#learn({ rules, barrier: observed.barrier }, commit.generation, auditedAtMs);
  }

  async #audit(digest: Known["stamp"], signal: AbortSignal): Promise<IptablesObserved> {
    this.#commits?.restart();
    // The journal wants a generation that is newer than its beginning; a digest is dear, and taken already.
    const stamp = this.variant === "legacy" ? digest : await this.#stamp(signal);
    const auditedAtMs = performance.now();
    const before: RuleDump = this.#known?.observed.rules ?? new Map();
    const [rules, barrier] = await Promise.all([this.#readAll(before, signal), this.#readBarrier(signal)]);
    const isStill = stamp !== undefined && (await this.#stamp(signal)) === stamp;
    return this.#learn({ rules, barrier }, isStill ? stamp : undefined, auditedAtMs);
  }

  #learn(read: IptablesObserved, stamp: Known["stamp"], auditedAtMs: number): IptablesObserved {
    const observed = this.#keep(read);
    if (typeof stamp === "number") this.#journal?.forget(stamp);
    this.#known = { observed, stamp, written: [], auditedAtMs };
    this.#expected = undefined;
    return observed;
  }

  /** @param edited the chains that may read otherwise; any where `undefined` */
  #readRules(
    before: RuleDump,
    edited: readonly EditedChain[] | undefined,
    signal: AbortSignal,
  ): Promise<RuleDump> {
    // With legacy any one chain costs as much as all.
    if (this.variant === "legacy" || edited === undefined || edited.length > maxListings)
      return this.#readAll(before, signal);
    return readChains(edited, before, this.variant, this.#run, signal);
  }

  #readAll(before: RuleDump, signal: AbortSignal): Promise<RuleDump> {
    const near = this.#expected === undefined ? before : joinDumps(before, this.#expected);
    return readAll(near, this.variant, this.#run, signal);
  }

  async #readBarrier(signal: AbortSignal): Promise<ObservedBarrier | undefined> {
    return this.variant === "nft" ? observeBarrier(this.#run, signal) : undefined;
  }

  /** `undefined` where nothing tells whether the ruleset moved. */
  async #stamp(signal: AbortSignal): Promise<Known["stamp"]> {
    if (this.variant === "legacy") return this.#readLegacyDigest?.();
    const witness = this.#journal?.witness();
    const generation = await this.#readGeneration?.(signal);
    if (generation !== undefined) witness?.(generation);
    return generation;
  }
}

function isOfTable(step: IptablesStep, table: TableName): boolean {
  return step.kind === "rules" && step.transaction.table === table;
}
