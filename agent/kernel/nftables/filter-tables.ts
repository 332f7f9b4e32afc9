/** The tables of guard and gates: reads them, and makes them what a plan says. */
import { DefinitionReader, readableSets } from "../../../lib/nftables/definition-lines.ts";
import {
  allFilterTables,
  byFilterTable,
  filterTableNames,
} from "../../../lib/nftables/filter-table-names.ts";
import {
  type DropCounts,
  encodeFilterTablesChunked,
  type FilterTablesTransaction,
  filterTableLines,
  type ObservedFilterTables,
  touchedElements,
  touchesDefinitions,
} from "../../../lib/nftables/filter-tables.ts";
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
import { Rendering } from "./rendering.ts";
import { rereadElements } from "./reread.ts";
import { hasNftables, type Outcome, readGeneration } from "./transaction.ts";

export interface FilterTablesDriver {
  /** Changes with every commit to nf_tables, by any process. */
  readGeneration(signal: AbortSignal): Promise<number>;
  /** Everything, as it was at one time. */
  read(signal: AbortSignal): Promise<ObservedFilterTables>;
  /** The next {@link read} trusts no earlier reading. */
  forget(): void;
  /** The last reading with what own transactions touched since. */
  readWritten(
    last: ObservedFilterTables,
    written: readonly FilterTablesTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedFilterTables>;
  /**
   * One transaction, on the ruleset of that generation and no other; `undefined`: that of the last reading. Counters of a
   * recreated table continue from the values of the replaced one.
   */
  write(transaction: FilterTablesTransaction, generation: number | undefined): Promise<Outcome>;
  /** What was dropped, as far as the kernel counts it now. */
  readCounts(signal: AbortSignal): Promise<DropCounts>;
}

/** @returns `undefined` where this kernel has no nf_tables; throws if that cannot be determined */
export async function findFilterTables(
  netlink: ConversingConnection,
  signal: AbortSignal,
  ownCommits?: OwnCommits,
): Promise<FilterTablesDriver | undefined> {
  return (await hasNftables(netlink, signal)) ? new FilterTables(netlink, ownCommits) : undefined;
}

/** For what belongs to a transaction, which is finished once begun. */
const timeoutMs = 10_000;

export class FilterTables implements FilterTablesDriver {
  readonly #netlink: ConversingConnection;
  readonly #renderings = byFilterTable(() => new Rendering());
  readonly #kept: KeptReading<ObservedFilterTables, FilterTablesTransaction>;

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

  read(signal: AbortSignal): Promise<ObservedFilterTables> {
    return this.#kept.read(signal);
  }

  forget(): void {
    this.#kept.forget();
  }

  async readWritten(
    last: ObservedFilterTables,
    written: readonly FilterTablesTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedFilterTables> {
    return written.some(touchesDefinitions) ? this.read(signal) : this.#reread(last, written, signal);
  }

  async write(transaction: FilterTablesTransaction, generation: number | undefined): Promise<Outcome> {
    const signal = AbortSignal.timeout(timeoutMs);
    const base = generation ?? this.#kept.generation ?? (await readGeneration(this.#netlink, signal));
    const isRemade = Object.values(transaction.definitions).some(({ isReplaced }) => isReplaced);
    const counts: DropCounts = isRemade ? await this.readCounts(signal) : new Map();
    const messages = await runYielding(encodeFilterTablesChunked(transaction, counts));
    const outcome = await this.#kept.write(transaction, messages, base);
    if (outcome.kind === "done") await this.#learn(transaction, signal);
    return outcome;
  }

  readCounts(signal: AbortSignal): Promise<DropCounts> {
    return readDropsOf(this.#netlink, Object.values(filterTableNames), signal);
  }

  /** `last` with what own transactions touched. The elements of a guard that was made anew are all read. */
  async #reread(
    last: ObservedFilterTables,
    written: readonly FilterTablesTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedFilterTables> {
    if (written.some(({ definitions }) => definitions.guard !== undefined)) return this.#readAll(signal);
    const definitions = written.some(touchesDefinitions)
      ? await this.#readKnownDefinitions(signal)
      : last.definitions;
    const keys = await runYielding(touchedElements(written));
    const elements = await rereadElements(this.#netlink, guardSetNames, last.elements, keys, signal);
    return { definitions, elements };
  }

  async #readAll(signal: AbortSignal): Promise<ObservedFilterTables> {
    const definitions = await this.#readDefinitions(signal);
    const elements: { [K in GuardSet]: GuardElements[K] } = { ...noGuardElements };
    for (const set of readableSets(definitions.guard ?? []))
      elements[set] = await readMap(this.#netlink, set, signal);
    return { definitions: this.#recognizeAll(definitions), elements };
  }

  async #readKnownDefinitions(signal: AbortSignal): Promise<ObservedFilterTables["definitions"]> {
    return this.#recognizeAll(await this.#readDefinitions(signal));
  }

  #recognizeAll(definitions: ObservedFilterTables["definitions"]): ObservedFilterTables["definitions"] {
    return byFilterTable((name) => this.#renderings[name].recognize(definitions[name]));
  }

  async #readDefinitions(signal: AbortSignal): Promise<ObservedFilterTables["definitions"]> {
    const readerOf = byFilterTable((name) => new DefinitionReader(filterTableNames[name]));
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
    return byFilterTable((name) => readerOf[name].lines);
  }

  /** Learns how this kernel dumps a table: reads it right after its creation, and ignores that if another program committed since. */
  async #learn({ definitions }: FilterTablesTransaction, signal: AbortSignal): Promise<void> {
    if (!Object.values(definitions).some(({ make }) => make !== undefined)) return;
    const dumped = await this.#readDefinitions(signal);
    if ((await readGeneration(this.#netlink, signal)) !== this.#kept.generation) return;
    for (const name of allFilterTables) {
      const make = definitions[name]?.make;
      if (make !== undefined) this.#renderings[name].learn(filterTableLines(name, make), dumped[name]);
    }
  }
}
