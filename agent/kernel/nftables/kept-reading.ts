/**
 * One reading of a table, kept for as long as nobody else commits. After own transactions only what they touched is
 * read again.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import type { OwnCommits } from "./own-commits.ts";
import { type Outcome, readGeneration, transact } from "./transaction.ts";

/** Tells which commits left what was read as it was. */
export type KnownCommits = Pick<OwnCommits, "note" | "latest">;

/** How a table is read. Both return `undefined` if a part was removed during the reading. */
export interface TableReaders<Observed, Transaction> {
  all(signal: AbortSignal): Promise<Observed | undefined>;
  /** @returns `last` with what `written` touched; also `undefined` if everything has to be read */
  touched(
    last: Observed,
    written: readonly Transaction[],
    signal: AbortSignal,
  ): Promise<Observed | undefined>;
}

/** The ruleset at `generation`: a reading, and the own transactions since. They are kept only with a reading. */
interface Kept<Observed, Transaction> {
  readonly generation: number;
  readonly observed?: Observed;
  readonly written: readonly Transaction[];
}

/** With more own transactions since the reading, everything is read. */
const maxWritten = 8;
const maxReadings = 5;

export class KeptReading<Observed, Transaction> {
  readonly #netlink: ConversingConnection;
  readonly #ownCommits: KnownCommits;
  readonly #readers: TableReaders<Observed, Transaction>;
  #kept: Kept<Observed, Transaction> | undefined;
  #isForgotten = false;

  constructor(
    netlink: ConversingConnection,
    ownCommits: KnownCommits,
    readers: TableReaders<Observed, Transaction>,
  ) {
    this.#netlink = netlink;
    this.#ownCommits = ownCommits;
    this.#readers = readers;
  }

  /** The generation up to which only own commits followed the reading. */
  get generation(): number | undefined {
    return this.#kept && this.#ownCommits.latest(this.#kept.generation);
  }

  /** The next reading reads everything, whatever the generation says. */
  forget(): void {
    this.#isForgotten = true;
  }

  /** Everything, as it was at one generation. */
  async read(signal: AbortSignal): Promise<Observed> {
    for (let reading = 1; reading <= maxReadings; reading++) {
      const generation = await readGeneration(this.#netlink, signal);
      const { observed, written = [] } = (this.#isForgotten ? undefined : this.#keptAt(generation)) ?? {};
      if (observed !== undefined && written.length === 0) {
        // Otherwise the gap grows beyond the commits that are remembered.
        this.#kept = { generation, observed, written };
        return observed;
      }
      const read =
        (observed && (await this.#readers.touched(observed, written, signal))) ??
        (await this.#readers.all(signal));
      if (read === undefined || (await readGeneration(this.#netlink, signal)) !== generation) continue;
      this.#kept = { generation, observed: read, written: [] };
      this.#isForgotten = false;
      return read;
    }
    throw new GatewayError("netlink-failed", `the ruleset changed during each of ${maxReadings} readings`);
  }

  /** Commits `messages`, which are `transaction`, on the ruleset of generation `base` and no other. */
  async write(transaction: Transaction, messages: readonly NetlinkMessage[], base: number): Promise<Outcome> {
    const { observed, written = [] } = this.#keptAt(base) ?? {};
    const outcome = await transact(this.#netlink, base, messages);
    this.#kept = undefined;
    if (outcome.kind !== "done") return outcome;
    this.#ownCommits.note(base);
    const generation = this.#ownCommits.latest(base);
    const isKept = observed !== undefined && written.length < maxWritten;
    this.#kept = isKept
      ? { generation, observed, written: [...written, transaction] }
      : { generation, written: [] };
    return outcome;
  }

  #keptAt(generation: number): Kept<Observed, Transaction> | undefined {
    return this.generation === generation ? this.#kept : undefined;
  }
}
