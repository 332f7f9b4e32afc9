/** The table of DNATs with several backends: reads it, and makes it what a plan says. */
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import {
  type BackendsTransaction,
  backendsMap,
  backendsTable,
  type ObservedBackends,
} from "../../../lib/nftables/backends.ts";
import {
  BackendsReader,
  type Drawn,
  DrawnReader,
  readableMap,
} from "../../../lib/nftables/decode-backends.ts";
import { dumpSetElements, encodeBackends } from "../../../lib/nftables/encode-backends.ts";
import { dumpRules } from "../../../lib/nftables/rule-handles.ts";
import { forEachVerdict } from "../../../lib/nftables/verdicts.ts";
import { messageType, setAttribute } from "../../../lib/nftables/wire.ts";
import type { ConversingConnection, DumpVisitor } from "../netlink/connection.ts";
import { KeptReading } from "./kept-reading.ts";
import { OwnCommits } from "./own-commits.ts";
import { allChains, allTables, contentsOf, forget, ofTable, orUndefinedWhereGone } from "./read.ts";
import { hasNftables, type Outcome, readGeneration } from "./transaction.ts";

export interface BackendsDriver {
  /** Everything, as it was at one time. */
  read(signal: AbortSignal): Promise<ObservedBackends>;
  /** The next {@link read} trusts no earlier reading. */
  forget(): void;
  /** The last reading with what own transactions touched since. */
  readWritten(
    last: ObservedBackends,
    written: readonly BackendsTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBackends>;
  /** One transaction, on the ruleset of that generation and no other; `undefined`: that of the last reading. */
  write(transaction: BackendsTransaction, generation: number | undefined): Promise<Outcome>;
}

/** @returns `undefined` where this kernel has no nf_tables; throws if that cannot be determined */
export async function findBackends(
  netlink: ConversingConnection,
  signal: AbortSignal,
  ownCommits: OwnCommits,
): Promise<BackendsDriver | undefined> {
  return (await hasNftables(netlink, signal)) ? new BackendsTable(netlink, ownCommits) : undefined;
}

/** For what belongs to a transaction, which is finished once begun. */
const timeoutMs = 10_000;
/** For more chains than this the whole table is read. */
const maxChains = 64;

export class BackendsTable implements BackendsDriver {
  readonly #netlink: ConversingConnection;
  readonly #kept: KeptReading<ObservedBackends, BackendsTransaction>;

  constructor(netlink: ConversingConnection, ownCommits = new OwnCommits()) {
    this.#netlink = netlink;
    this.#kept = new KeptReading(netlink, ownCommits, {
      all: (signal) => orUndefinedWhereGone(this.#readAll(signal)),
      touched: (last, written, signal) => orUndefinedWhereGone(this.#reread(last, written, signal)),
    });
  }

  read(signal: AbortSignal): Promise<ObservedBackends> {
    return this.#kept.read(signal);
  }

  forget(): void {
    this.#kept.forget();
  }

  async readWritten(
    last: ObservedBackends,
    written: readonly BackendsTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBackends> {
    // What another process replaced can be gone.
    return (await orUndefinedWhereGone(this.#reread(last, written, signal))) ?? this.read(signal);
  }

  async write(transaction: BackendsTransaction, generation: number | undefined): Promise<Outcome> {
    const signal = AbortSignal.timeout(timeoutMs);
    const base = generation ?? this.#kept.generation ?? (await readGeneration(this.#netlink, signal));
    return this.#kept.write(transaction, encodeBackends(transaction), base);
  }

  /** `last` with what own transactions touched. `undefined` if everything has to be read. */
  async #reread(
    last: ObservedBackends,
    written: readonly BackendsTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBackends | undefined> {
    const chains = new Map(last.chains);
    const names = new Set<string>();
    for (const { definition, drop, write } of written) {
      if (definition !== undefined) return undefined;
      for (const name of drop) {
        chains.delete(name);
        names.delete(name);
      }
      for (const name of write.keys()) names.add(name);
    }
    if (names.size > maxChains) return undefined;
    const read = names.size === 0 ? [] : await this.#readChains(names, signal);
    for (const [name, text] of read) chains.set(name, text);
    const isMapTouched = written.some(({ add, remove }) => add.size + remove.length > 0);
    const elements = isMapTouched ? await this.#readElements(signal) : last.elements;
    return { ...last, chains, elements };
  }

  async #readAll(signal: AbortSignal): Promise<ObservedBackends> {
    const reader = new BackendsReader();
    await this.#dump(allTables, reader, signal);
    if (reader.definition === undefined)
      return { definition: undefined, elements: new Map(), chains: new Map() };
    await this.#dump(allChains, reader, signal);
    for (const request of contentsOf(backendsTable)) await this.#dump(request, reader, signal);
    const drawn = await this.#readDrawn(reader.sets.keys(), signal);
    const { definition } = reader;
    const map = readableMap(definition);
    const elements = map === undefined ? new Map() : await this.#readElements(signal, map);
    return { definition, elements, chains: reader.chains(drawn) };
  }

  async #readChains(names: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const reader = new BackendsReader();
    for (const name of names) {
      reader.rules.set(name, []);
      await this.#dump(dumpRules({ table: backendsTable, chain: name }), reader, signal);
    }
    await this.#dump(ofTable(messageType.getSet, setAttribute.table, backendsTable), reader, signal);
    const sets = reader.rules.values().flatMap((rules) => rules.flatMap(({ set }) => set ?? []));
    return reader.chains(await this.#readDrawn(sets, signal));
  }

  async #readDrawn(sets: Iterable<string>, signal: AbortSignal): Promise<ReadonlyMap<string, Drawn>> {
    const all = new Map<string, Drawn>();
    for (const set of sets) {
      const reader = new DrawnReader();
      await this.#dump(dumpSetElements(set), reader, signal);
      all.set(set, reader.drawn);
    }
    return all;
  }

  async #readElements(signal: AbortSignal, map: string = backendsMap): Promise<ReadonlyMap<string, string>> {
    const elements = new Map<string, string>();
    const read: DumpVisitor = (type, view, start, end) => {
      if (type === messageType.newElements)
        forEachVerdict(view, start, end, (key, verdict) => elements.set(key, verdict));
    };
    await this.#dump(dumpSetElements(map), { read }, signal);
    return elements;
  }

  #dump(message: NetlinkMessage, reader: { read: DumpVisitor }, signal: AbortSignal): Promise<void> {
    const visit: DumpVisitor = (...part) => reader.read(...part);
    return this.#netlink.dump(message, visit, signal, forget);
  }
}
