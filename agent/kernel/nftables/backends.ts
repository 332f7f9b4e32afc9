/** The table of DNATs with several backends: reads it, and makes it what a plan says. */
import { GatewayError } from "../../../lib/model/errors.ts";
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
  isMapReadable,
} from "../../../lib/nftables/decode-backends.ts";
import { dumpSetElements, encodeBackends } from "../../../lib/nftables/encode-backends.ts";
import { dumpRules } from "../../../lib/nftables/rule-handles.ts";
import { forEachVerdict } from "../../../lib/nftables/verdicts.ts";
import {
  inetHeader,
  messageType,
  objectAttribute,
  ruleAttribute,
  setAttribute,
} from "../../../lib/nftables/wire.ts";
import type { ConversingConnection, DumpVisitor } from "../netlink/connection.ts";
import { hasNftables } from "./barrier.ts";
import { OwnCommits } from "./own-commits.ts";
import { allTables, forget, ofTable } from "./read.ts";
import { type Outcome, readGeneration, transact } from "./transaction.ts";

export interface BackendsDriver {
  /** Everything, as it was at one time. */
  read(signal: AbortSignal): Promise<ObservedBackends>;
  /** The last reading with what own transactions touched since. */
  readWritten(
    last: ObservedBackends,
    written: readonly BackendsTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBackends>;
  /** One transaction, on the ruleset of that generation and no other; `undefined`: that of the last reading. */
  write(transaction: BackendsTransaction, generation: number | undefined): Promise<Outcome>;
}

/** @returns `undefined` where this kernel has no nf_tables; throws where it cannot be told */
export async function findBackends(
  netlink: ConversingConnection,
  signal: AbortSignal,
  ownCommits: OwnCommits,
): Promise<BackendsDriver | undefined> {
  return (await hasNftables(netlink, signal)) ? new BackendsTable(netlink, ownCommits) : undefined;
}

const maxReadings = 5;
/** For what belongs to a transaction, which is finished once begun. */
const timeoutMs = 10_000;
/** For more chains than this the whole table is read. */
const maxChains = 64;

export class BackendsTable implements BackendsDriver {
  readonly #netlink: ConversingConnection;
  readonly #ownCommits: OwnCommits;
  /** What stood at a generation; without `observed` only own writes lie between that and a reading. */
  #known: { readonly generation: number; readonly observed: ObservedBackends | undefined } | undefined;

  constructor(netlink: ConversingConnection, ownCommits = new OwnCommits()) {
    this.#netlink = netlink;
    this.#ownCommits = ownCommits;
  }

  async read(signal: AbortSignal): Promise<ObservedBackends> {
    for (let reading = 1; reading <= maxReadings; reading++) {
      const generation = await readGeneration(this.#netlink, signal);
      const known = this.#known;
      if (known?.observed !== undefined && this.#ownCommits.latest(known.generation) === generation)
        return known.observed;
      const read = await orUndefinedWhereGone(this.#readAll(signal));
      if (read === undefined || (await readGeneration(this.#netlink, signal)) !== generation) continue;
      this.#known = { generation, observed: read };
      return read;
    }
    throw new GatewayError("netlink-failed", `the ruleset changed during each of ${maxReadings} readings`);
  }

  async readWritten(
    last: ObservedBackends,
    written: readonly BackendsTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedBackends> {
    const names = new Set(written.flatMap(({ write }) => [...write.keys()]));
    const dropped = new Set(written.flatMap(({ drop }) => drop));
    if (names.size > maxChains || written.some(({ frame }) => frame !== undefined)) return this.read(signal);
    const chains = new Map(last.chains);
    for (const name of dropped) chains.delete(name);
    // A set's elements can be gone where another process replaced it: that is a matter for a full reading.
    const read = names.size === 0 ? new Map() : await orUndefinedWhereGone(this.#readChains(names, signal));
    if (read === undefined) return this.read(signal);
    for (const [name, text] of read) chains.set(name, text);
    const isMapTouched = written.some(({ add, remove }) => add.size + remove.length > 0);
    const elements = isMapTouched ? await this.#readElements(signal) : last.elements;
    return { ...last, chains, elements };
  }

  async write(transaction: BackendsTransaction, generation: number | undefined): Promise<Outcome> {
    const known = this.#known && this.#ownCommits.latest(this.#known.generation);
    const base = generation ?? known ?? (await readGeneration(this.#netlink, AbortSignal.timeout(timeoutMs)));
    const outcome = await transact(this.#netlink, base, encodeBackends(transaction));
    this.#known = undefined;
    if (outcome.kind !== "done") return outcome;
    this.#ownCommits.note(base);
    this.#known = { generation: this.#ownCommits.latest(base), observed: undefined };
    return outcome;
  }

  async #readAll(signal: AbortSignal): Promise<ObservedBackends> {
    const reader = new BackendsReader();
    await this.#dump(allTables, reader, signal);
    if (reader.frame === undefined) return { frame: undefined, elements: new Map(), chains: new Map() };
    await this.#dump({ type: messageType.getChain, flags: 0, payload: inetHeader }, reader, signal);
    await this.#dump(ofTable(messageType.getObject, objectAttribute.table, backendsTable), reader, signal);
    await this.#dump(ofTable(messageType.getSet, setAttribute.table, backendsTable), reader, signal);
    await this.#dump(ofTable(messageType.getRule, ruleAttribute.table, backendsTable), reader, signal);
    const drawn = await this.#readDrawn(reader.sets.keys(), signal);
    const { frame } = reader;
    const elements = isMapReadable(frame) ? await this.#readElements(signal) : new Map();
    return { frame, elements, chains: reader.chains(drawn) };
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

  async #readElements(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const elements = new Map<string, string>();
    const read: DumpVisitor = (type, view, start, end) => {
      if (type === messageType.newElements)
        forEachVerdict(view, start, end, (key, verdict) => elements.set(key, verdict));
    };
    await this.#dump(dumpSetElements(backendsMap), { read }, signal);
    return elements;
  }

  #dump(message: NetlinkMessage, reader: { read: DumpVisitor }, signal: AbortSignal): Promise<void> {
    const visit: DumpVisitor = (...part) => reader.read(...part);
    return this.#netlink.dump(message, visit, signal, forget);
  }
}

/** `undefined` if the table, or a set of it, was removed during the reading. */
async function orUndefinedWhereGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof GatewayError && error.details.code === "ENOENT") return undefined;
    throw error;
  }
}
