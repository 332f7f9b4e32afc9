/** The tables of guard and gates: reads them, and makes them what a plan says. */
import {
  type BarrierTransaction,
  barrierLines,
  type DropCounts,
  encodeBarrierChunked,
  type ObservedBarrier,
  touchedElements,
  touchesFrames,
} from "../../../lib/nftables/barrier.ts";
import {
  type BarrierName,
  barrierNames,
  barrierTables,
  byBarrier,
} from "../../../lib/nftables/barrier-tables.ts";
import { type FrameLines, FrameReader, readableSets } from "../../../lib/nftables/frame-lines.ts";
import {
  type GuardElements,
  type GuardSet,
  guardSetNames,
  noGuardElements,
} from "../../../lib/nftables/sets.ts";
import { runYielding } from "../../run-yielding.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { KeptReading } from "./kept-reading.ts";
import { OwnCommits } from "./own-commits.ts";
import { allChains, allTables, contentsOf, forget, readMap } from "./read.ts";
import { readDropsOf } from "./read-drops.ts";
import { rereadElements } from "./reread.ts";
import { hasNftables, type Outcome, readGeneration } from "./transaction.ts";

export interface BarrierDriver {
  /** Moves with whatever is committed to nf_tables. */
  readGeneration(signal: AbortSignal): Promise<number>;
  /** Everything, as it was at one time. */
  read(signal: AbortSignal): Promise<ObservedBarrier>;
  /** The next {@link read} trusts no earlier reading. */
  forget(): void;
  /** The last reading with what own transactions touched since. */
  readWritten(
    last: ObservedBarrier,
    written: readonly BarrierTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBarrier>;
  /**
   * One transaction, on the ruleset of that generation and no other; `undefined`: that of the last reading. Counters of tables
   * that are made go on where those of the tables that they replace were.
   */
  write(transaction: BarrierTransaction, generation: number | undefined): Promise<Outcome>;
  /** What was dropped, as far as the kernel counts it now. */
  readCounts(signal: AbortSignal): Promise<DropCounts>;
}

/** @returns `undefined` where this kernel has no nf_tables; throws where it cannot be told */
export async function findBarrier(
  netlink: ConversingConnection,
  signal: AbortSignal,
  ownCommits?: OwnCommits,
): Promise<BarrierDriver | undefined> {
  return (await hasNftables(netlink, signal)) ? new BarrierTables(netlink, ownCommits) : undefined;
}

/** For what belongs to a transaction, which is finished once begun. */
const timeoutMs = 10_000;

export class BarrierTables implements BarrierDriver {
  readonly #netlink: ConversingConnection;
  /** How this kernel tells a table that it was given, where it uses other attributes than we. */
  readonly #told = new Map<BarrierName, { readonly asked: readonly string[]; readonly told: string }>();
  readonly #kept: KeptReading<ObservedBarrier, BarrierTransaction>;

  constructor(netlink: ConversingConnection, ownCommits = new OwnCommits()) {
    this.#netlink = netlink;
    this.#kept = new KeptReading(netlink, ownCommits, {
      all: (signal) => this.#readAll(signal),
      touched: (last, written, signal) => this.#reread(last, written, signal),
    });
  }

  readGeneration(signal: AbortSignal): Promise<number> {
    return readGeneration(this.#netlink, signal);
  }

  read(signal: AbortSignal): Promise<ObservedBarrier> {
    return this.#kept.read(signal);
  }

  forget(): void {
    this.#kept.forget();
  }

  async readWritten(
    last: ObservedBarrier,
    written: readonly BarrierTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBarrier> {
    return written.some(touchesFrames) ? this.read(signal) : this.#reread(last, written, signal);
  }

  async write(transaction: BarrierTransaction, generation: number | undefined): Promise<Outcome> {
    const signal = AbortSignal.timeout(timeoutMs);
    const base = generation ?? this.#kept.generation ?? (await readGeneration(this.#netlink, signal));
    const isRemade = Object.values(transaction.frames).some(({ isReplaced }) => isReplaced);
    const counts: DropCounts = isRemade ? await this.readCounts(signal) : new Map();
    const messages = await runYielding(encodeBarrierChunked(transaction, counts));
    const outcome = await this.#kept.write(transaction, messages, base);
    if (outcome.kind === "done") await this.#learn(transaction, signal);
    return outcome;
  }

  readCounts(signal: AbortSignal): Promise<DropCounts> {
    return readDropsOf(this.#netlink, Object.values(barrierTables), signal);
  }

  /** `last` with what own transactions touched. The elements of a guard that was made anew are all read. */
  async #reread(
    last: ObservedBarrier,
    written: readonly BarrierTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBarrier> {
    if (written.some(({ frames }) => frames.guard !== undefined)) return this.#readAll(signal);
    const frames = written.some(touchesFrames) ? await this.#readKnownFrames(signal) : last.frames;
    const keys = await runYielding(touchedElements(written));
    const elements = await rereadElements(this.#netlink, guardSetNames, last.elements, keys, signal);
    return { frames, elements };
  }

  async #readAll(signal: AbortSignal): Promise<ObservedBarrier> {
    const frames = await this.#readFrames(signal);
    const elements: { [K in GuardSet]: GuardElements[K] } = { ...noGuardElements };
    for (const set of readableSets(frames.guard ?? []))
      elements[set] = await readMap(this.#netlink, set, signal);
    return { frames: this.#recognizeAll(frames), elements };
  }

  async #readKnownFrames(signal: AbortSignal): Promise<ObservedBarrier["frames"]> {
    return this.#recognizeAll(await this.#readFrames(signal));
  }

  #recognizeAll(frames: ObservedBarrier["frames"]): ObservedBarrier["frames"] {
    return byBarrier((name) => this.#recognize(name, frames[name]));
  }

  async #readFrames(signal: AbortSignal): Promise<ObservedBarrier["frames"]> {
    const readerOf = byBarrier((name) => new FrameReader(barrierTables[name]));
    const readers = Object.values(readerOf);
    const dump = (message: Parameters<ConversingConnection["dump"]>[0]) =>
      this.#netlink.dump(
        message,
        (type, view, start, end) => {
          for (const reader of readers) reader.read(type, view, start, end);
        },
        signal,
        forget,
      );
    await dump(allTables);
    const present = readers.filter(({ lines }) => lines !== undefined);
    if (present.length > 0) await dump(allChains);
    // The kernel refuses to dump sets of a table that is not there.
    for (const { table } of present) for (const request of contentsOf(table)) await dump(request);
    return byBarrier((name) => readerOf[name].lines);
  }

  /** What is read right after a table was made, before anybody else wrote, is how the kernel tells that table. */
  async #learn({ frames }: BarrierTransaction, signal: AbortSignal): Promise<void> {
    if (!Object.values(frames).some(({ make }) => make !== undefined)) return;
    const told = await this.#readFrames(signal);
    if ((await readGeneration(this.#netlink, signal)) !== this.#kept.generation) return;
    for (const name of barrierNames) {
      const make = frames[name]?.make;
      if (make !== undefined)
        this.#told.set(name, { asked: barrierLines(name, make), told: textOf(told[name]) });
    }
  }

  #recognize(name: BarrierName, lines: FrameLines): FrameLines {
    const known = this.#told.get(name);
    return lines !== undefined && known?.told === textOf(lines) ? known.asked : lines;
  }
}

function textOf(lines: FrameLines): string {
  return lines?.join("\n") ?? "";
}
