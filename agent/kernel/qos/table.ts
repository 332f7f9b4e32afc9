/** Reads the table of rate limits. Nothing is read while no program has written to nf_tables. */
import { stabilize } from "../../../lib/memoize.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { forEachClass, forEachLimit, readableQosSets } from "../../../lib/nftables/decode-qos.ts";
import { DefinitionReader } from "../../../lib/nftables/definition-lines.ts";
import { dumpQosElements } from "../../../lib/nftables/encode-qos.ts";
import type { DropCounts } from "../../../lib/nftables/filter-tables.ts";
import { isSameQosTable, noQosTable, type ObservedQosTable, qosTable } from "../../../lib/nftables/qos.ts";
import { messageType } from "../../../lib/nftables/wire.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { KeptReading } from "../nftables/kept-reading.ts";
import { OwnCommits } from "../nftables/own-commits.ts";
import { allChains, allTables, contentsOf, forget, orUndefinedWhereGone } from "../nftables/read.ts";
import { readDropsOf } from "../nftables/read-drops.ts";

export class QosTableReader {
  readonly #netlink: ConversingConnection;
  readonly #keep = stabilize(isSameQosTable);
  readonly #reading: KeptReading<ObservedQosTable, never>;
  #last: ObservedQosTable | undefined;

  constructor(netlink: ConversingConnection) {
    this.#netlink = netlink;
    this.#reading = new KeptReading(netlink, new OwnCommits(), {
      all: (signal) => orUndefinedWhereGone(this.#readAll(signal)),
      touched: async () => undefined,
    });
  }

  /** The table as it was at one time. */
  async read(signal: AbortSignal): Promise<ObservedQosTable> {
    this.#last = await this.#reading.read(signal);
    return this.#last;
  }

  /** The next {@link read} trusts no earlier reading. */
  forget(): void {
    this.#reading.forget();
  }

  /** True if the last reading is still true. */
  async isCurrent(signal: AbortSignal): Promise<boolean> {
    const last = this.#last;
    return last !== undefined && (await this.read(signal)) === last;
  }

  /** What limits without classes have dropped. Nothing is read while there are none. */
  async readDrops(signal: AbortSignal): Promise<DropCounts> {
    const hasCounters = this.#last?.definition?.some((line) => line.startsWith("object ")) === true;
    return hasCounters ? readDropsOf(this.#netlink, [qosTable], signal) : new Map();
  }

  async #readAll(signal: AbortSignal): Promise<ObservedQosTable> {
    const reader = new DefinitionReader(qosTable);
    const dump = (message: NetlinkMessage) =>
      this.#netlink.dump(message, (...part) => reader.read(...part), signal, forget);
    await dump(allTables);
    if (reader.lines === undefined) return this.#keep(noQosTable);
    await dump(allChains);
    for (const request of contentsOf(qosTable)) await dump(request);
    const { lines: definition } = reader;
    const elements = new Map<string, ReadonlyMap<string, string>>();
    for (const { name, isMap } of readableQosSets(definition ?? []))
      elements.set(name, await this.#readElements(name, isMap, signal));
    return this.#keep({ definition, elements });
  }

  async #readElements(
    set: string,
    isMap: boolean,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    const values = new Map<string, string>();
    const forEach = isMap ? forEachClass : forEachLimit;
    await this.#netlink.dump(
      dumpQosElements(set),
      (type, view, start, end) => {
        if (type === messageType.newElements)
          forEach(view, start, end, (key, value) => values.set(key, value));
      },
      signal,
      forget,
    );
    return values;
  }
}
