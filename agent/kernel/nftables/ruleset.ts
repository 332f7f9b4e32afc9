/**
 * The ruleset as this process knows it. The kernel counts every commit; while that count is what own transactions make
 * of it, nobody else was here, and what was read stays true but for what was written, which is read back by key.
 *
 * So a look at a ruleset at rest costs one request. What others wrote the journal of commits tells: elements that they
 * touched are read again, and their own tables listed. It is read whole at the start, when somebody touched more or nobody
 * knows what, when a transaction came to a bad end, and every few minutes all the same.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { ObservedBarrier } from "../../../lib/nftables/barrier.ts";
import { nextGeneration, touchedKeys } from "../../../lib/nftables/commits.ts";
import { isElementMessage } from "../../../lib/nftables/encode-elements.ts";
import { encodeTransaction, type TableTransaction } from "../../../lib/nftables/encode-transaction.ts";
import { isForeign } from "../../../lib/nftables/foreign.ts";
import { type FrameLines, frameLines, readableMaps } from "../../../lib/nftables/frame-lines.ts";
import type { ObservedTable } from "../../../lib/plan/nftables/compare.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import type { Run } from "../run.ts";
import { applyBarrier, observeBarrier } from "./barrier.ts";
import type { CommitJournal } from "./journal.ts";
import { listOthers, readForeign, readTable } from "./read.ts";
import { rereadElements } from "./reread.ts";
import { type Outcome, readGeneration, transact } from "./transaction.ts";
import { after, isReadByKey, type Known, keysOf, type Written } from "./written.ts";

export interface NftablesObserved {
  readonly generation: number;
  readonly table: ObservedTable;
  readonly barrier: ObservedBarrier;
  /** Rules of others, as nft lists them. */
  readonly foreign: readonly string[];
  /** When the whole was last read. */
  readonly auditedAtMs: number;
}

export type NftablesStep =
  | { readonly kind: "table"; readonly transaction: TableTransaction }
  /** Input of `nft -f`. */
  | { readonly kind: "barrier"; readonly input: string };

export interface RulesetOptions {
  readonly netlink: ConversingConnection;
  readonly run: Run;
  /** Without it all is read whenever somebody else wrote. */
  readonly journal?: CommitJournal;
  /** Longest time without a whole reading. */
  readonly auditIntervalMs?: number;
  /** Monotonic. */
  readonly nowMs?: () => number;
}

const maxReadings = 5;

export class Ruleset {
  readonly #netlink: ConversingConnection;
  readonly #run: Run;
  readonly #journal: CommitJournal | undefined;
  readonly #auditIntervalMs: number;
  readonly #nowMs: () => number;
  #known: Known | undefined;
  /** How this kernel tells a frame that it was given, where it uses other attributes than we. */
  #rendering: { readonly asked: FrameLines; readonly told: string } | undefined;

  constructor(options: RulesetOptions) {
    const { netlink, run, journal, auditIntervalMs = 600_000, nowMs = () => performance.now() } = options;
    this.#netlink = netlink;
    this.#run = run;
    this.#journal = journal;
    this.#auditIntervalMs = auditIntervalMs;
    this.#nowMs = nowMs;
  }

  /** The last reading, where the generation proves it and no other is due. */
  async current(signal: AbortSignal): Promise<NftablesObserved | undefined> {
    const known = this.#known;
    if (known === undefined || known.written !== undefined || this.#isDue(known)) return undefined;
    return (await this.#readGeneration(signal)) === known.generation ? known.observed : undefined;
  }

  async read(signal: AbortSignal): Promise<NftablesObserved> {
    return (await this.follow(signal)) ?? (await this.#catchUp(signal)) ?? this.#audit(signal);
  }

  /** The last reading with what was written since; `undefined` where somebody else wrote too, or another reading is due. */
  async follow(signal: AbortSignal): Promise<NftablesObserved | undefined> {
    const known = this.#known;
    if (known === undefined || this.#isDue(known)) return undefined;
    if ((await this.#readGeneration(signal)) !== known.generation) return undefined;
    return known.written === undefined ? known.observed : this.#readBack(known, known.written, signal);
  }

  /**
   * Takes the steps one after the other, each in a transaction of its own, for as long as nobody else writes. They are
   * given no signal: a transaction once begun is finished. What became of one that ends in an error, a reading tells.
   */
  async write(steps: readonly NftablesStep[], base: NftablesObserved): Promise<Outcome> {
    let known: Known = { observed: base, generation: base.generation, written: undefined };
    // A bad end casts doubt on what was read: a table goes with the program that owned it, and moves no generation.
    this.#known = undefined;
    for (const step of steps) {
      const outcome =
        step.kind === "table"
          ? await transact(this.#netlink, known.generation, encodeTransaction(step.transaction))
          : await this.#writeBarrier(step.input, known.generation);
      if (isRefusedElement(outcome)) this.#known = known;
      if (outcome.kind !== "done") return outcome;
      known = after(known, step);
    }
    this.#known = known;
    // Its events are not worth fetching: by key they are not read.
    if (known.written?.transactions.some((one) => !isReadByKey(one))) this.#journal?.restart();
    return { kind: "done" };
  }

  #isDue({ observed }: Known): boolean {
    return this.#nowMs() - observed.auditedAtMs >= this.#auditIntervalMs;
  }

  /** nft takes no generation from us: whether somebody came between shows afterwards. */
  async #writeBarrier(input: string, generation: number): Promise<Outcome> {
    await applyBarrier(input, this.#run);
    const now = await readGeneration(this.#netlink, AbortSignal.timeout(barrierTimeoutMs));
    return { kind: now === nextGeneration(generation) ? "done" : "stale" };
  }

  /** @returns `undefined` where only a whole reading can tell */
  async #readBack(
    known: Known,
    written: Written,
    signal: AbortSignal,
  ): Promise<NftablesObserved | undefined> {
    const { observed, generation } = known;
    if (written.transactions.some(({ frame }) => frame !== undefined)) return undefined;
    const barrier = written.isBarrier ? await observeBarrier(this.#run, signal) : observed.barrier;
    const keys = keysOf(written.transactions);
    const elements = await rereadElements(this.#netlink, observed.table.elements, keys, signal);
    if ((await this.#readGeneration(signal)) !== generation) return undefined;
    return this.#learn({
      ...observed,
      generation,
      barrier,
      table: { frame: observed.table.frame, elements },
    });
  }

  /** The last reading with the elements read again that somebody touched since; `undefined` where more may be otherwise. */
  async #catchUp(signal: AbortSignal): Promise<NftablesObserved | undefined> {
    const known = this.#known;
    if (known === undefined || this.#isDue(known)) return undefined;
    const { observed } = known;
    const { frame, elements: before } = observed.table;
    for (let reading = 1; reading <= maxReadings; reading++) {
      const commit = this.#journal?.since(observed.generation);
      const keys = commit && touchedKeys(commit, frame === undefined ? [] : readableMaps(frame));
      if (commit === undefined || keys === undefined) return undefined;
      const elements = await rereadElements(this.#netlink, before, keys, signal);
      const isElsewhere = commit.tables.keys().some(isForeign);
      const foreign = isElsewhere ? await readForeign(this.#netlink, this.#run, signal) : observed.foreign;
      const { generation } = commit;
      // The kernel counts a commit before it tells of it.
      if ((await this.#readGeneration(signal)) !== generation) continue;
      return this.#learn({ ...observed, generation, foreign, table: { frame, elements } });
    }
    return undefined;
  }

  async #audit(signal: AbortSignal): Promise<NftablesObserved> {
    for (let reading = 1; reading <= maxReadings; reading++) {
      this.#journal?.restart();
      const generation = await this.#readGeneration(signal);
      const auditedAtMs = this.#nowMs();
      const { table, others } = await readTable(this.#netlink, signal);
      const barrier = await observeBarrier(this.#run, signal);
      const foreign = await listOthers(others, this.#run, signal);
      if ((await this.#readGeneration(signal)) !== generation) continue;
      const frame = this.#recognize(table.frame, generation);
      return this.#learn({ generation, table: { ...table, frame }, barrier, foreign, auditedAtMs });
    }
    throw new GatewayError("netlink-failed", `the ruleset changed during each of ${maxReadings} readings`);
  }

  async #readGeneration(signal: AbortSignal): Promise<number> {
    const witness = this.#journal?.witness();
    const generation = await readGeneration(this.#netlink, signal);
    witness?.(generation);
    return generation;
  }

  #learn(observed: NftablesObserved): NftablesObserved {
    this.#journal?.forget(observed.generation);
    this.#known = { observed, generation: observed.generation, written: undefined };
    return observed;
  }

  /** What is read right after a frame was made, before anybody else wrote, is how the kernel tells that frame. */
  #recognize(read: FrameLines, generation: number): FrameLines {
    const told = read?.join("\n") ?? "";
    const known = this.#known;
    const made = known?.written?.transactions.findLast(({ frame }) => frame !== undefined)?.frame;
    if (known?.generation === generation && made !== undefined)
      this.#rendering = { asked: frameLines(made.make), told };
    return this.#rendering?.told === told ? this.#rendering.asked : read;
  }
}

const barrierTimeoutMs = 10_000;

/** The table was found and its elements looked at: nothing but one of them is wrong. */
function isRefusedElement(outcome: Outcome): boolean {
  return outcome.kind === "refused" && outcome.fault !== undefined && isElementMessage(outcome.fault.message);
}
