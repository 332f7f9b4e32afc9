/** Reads the table of rate limits. Nothing is read while no program has written to nf_tables. */
import { stabilize } from "../../../lib/memoize.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { forEachClass, forEachLimit, readableQosSets } from "../../../lib/nftables/decode-qos.ts";
import { dumpQosElements } from "../../../lib/nftables/encode-qos.ts";
import { FrameReader } from "../../../lib/nftables/frame-lines.ts";
import { isSameQosTable, noQosTable, type ObservedQosTable, qosTable } from "../../../lib/nftables/qos.ts";
import {
  inetHeader,
  messageType,
  objectAttribute,
  ruleAttribute,
  setAttribute,
} from "../../../lib/nftables/wire.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { allTables, forget, ofTable } from "../nftables/read.ts";
import { readGeneration } from "../nftables/transaction.ts";

const maxReadings = 5;

export class QosTableReader {
  readonly #netlink: ConversingConnection;
  readonly #keep = stabilize(isSameQosTable);
  #known: { readonly generation: number; readonly table: ObservedQosTable } | undefined;

  constructor(netlink: ConversingConnection) {
    this.#netlink = netlink;
  }

  /** The table as it was at one time. */
  async read(signal: AbortSignal): Promise<ObservedQosTable> {
    for (let reading = 1; reading <= maxReadings; reading++) {
      const generation = await readGeneration(this.#netlink, signal);
      if (this.#known?.generation === generation) return this.#known.table;
      const read = await this.#readNow(signal);
      if (read === undefined || (await readGeneration(this.#netlink, signal)) !== generation) continue;
      const table = this.#keep(read);
      this.#known = { generation, table };
      return table;
    }
    throw new GatewayError("netlink-failed", `the ruleset changed during each of ${maxReadings} readings`);
  }

  /** True if the last reading is still true. */
  async isCurrent(signal: AbortSignal): Promise<boolean> {
    const last = this.#known?.table;
    return last !== undefined && (await this.read(signal)) === last;
  }

  /** `undefined` if the table, or a set of it, was removed during the reading. */
  async #readNow(signal: AbortSignal): Promise<ObservedQosTable | undefined> {
    const reader = new FrameReader(qosTable);
    const dump = (message: NetlinkMessage) =>
      this.#netlink.dump(message, (...part) => reader.read(...part), signal, forget);
    try {
      await dump(allTables);
      if (reader.lines === undefined) return noQosTable;
      await dump({ type: messageType.getChain, flags: 0, payload: inetHeader });
      await dump(ofTable(messageType.getObject, objectAttribute.table, qosTable));
      await dump(ofTable(messageType.getSet, setAttribute.table, qosTable));
      await dump(ofTable(messageType.getRule, ruleAttribute.table, qosTable));
      const { lines: frame } = reader;
      const elements = new Map<string, ReadonlyMap<string, string>>();
      for (const { name, isMap } of readableQosSets(frame ?? []))
        elements.set(name, await this.#readElements(name, isMap, signal));
      return { frame, elements };
    } catch (error) {
      if (error instanceof GatewayError && error.details.code === "ENOENT") return undefined;
      throw error;
    }
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
