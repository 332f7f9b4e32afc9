/**
 * The driver of accounting: reads the table, writes it, and reads its counters.
 *
 * INVARIANTS
 * - Counters of EIPs that stay are never lost by a write: a table that is made again begins where the last one was.
 * - Elements are read once. Then the journal of commits tells whether another program touched the table.
 */
import { stabilizeChunked } from "../../../lib/memoize.ts";
import type { GatewayError } from "../../../lib/model/errors.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import {
  type AccountingTransaction,
  accountingTable,
  counterSets,
  eipSet,
  isSameAccountingChunked,
  noAccounting,
  type ObservedAccounting,
  type RawCounts,
} from "../../../lib/nftables/accounting.ts";
import {
  type DefinitionLines,
  DefinitionReader,
  isSameDefinition,
} from "../../../lib/nftables/definition-lines.ts";
import {
  accountingLines,
  accountingSetLines,
  encodeAccounting,
  encodeDeleteCounters,
} from "../../../lib/nftables/encode-accounting.ts";
import { tableLabel } from "../../../lib/nftables/family.ts";
import { type AccountingStep, noTransaction } from "../../../lib/plan/accounting/steps.ts";
import { runYielding } from "../../run-yielding.ts";
import { type CommitJournal, openCommitJournal } from "../commit-journal.ts";
import type { AccountingDriver, DriverFailure } from "../drivers.ts";
import {
  type ConversingConnection,
  NETLINK_NETFILTER,
  type NetlinkConnection,
  openNetlink,
} from "../netlink/connection.ts";
import { openNetlinkSocket } from "../netlink/socket.ts";
import { KeptReading } from "../nftables/kept-reading.ts";
import { OwnCommits } from "../nftables/own-commits.ts";
import { allChains, allTables, contentsOf, forget, orUndefinedWhereGone } from "../nftables/read.ts";
import { refusalError, staleError } from "../nftables/refusal.ts";
import { Rendering } from "../nftables/rendering.ts";
import { TableCommits } from "../nftables/table-commits.ts";
import { hasNftables, type Outcome, readGeneration } from "../nftables/transaction.ts";
import { readEips, readRawCounts } from "./elements.ts";

export interface AccountingDriverOptions {
  /** From `openNftables`. The driver closes neither of them. */
  readonly netlink: ConversingConnection;
  /** A journal that nobody else uses. */
  readonly journal: CommitJournal;
  /** Shared with the drivers of other tables, which then need not read theirs again. */
  readonly ownCommits?: OwnCommits;
  /** Monotonic clock. */
  readonly nowMs?: () => number;
}

export function createAccountingDriver(options: AccountingDriverOptions): AccountingDriver {
  return new Driver({ nowMs: () => performance.now(), ownCommits: new OwnCommits(), ...options });
}

/** A transaction of 65,000 EIPs has 2 MB. */
const sendBufferBytes = 16 << 20;

/** The driver with sockets of its own: reading counters must not delay a pass. */
export interface Accounting {
  readonly driver: AccountingDriver;
  readonly netlink: NetlinkConnection;
  /** For the drivers of other tables: these commits leave theirs as they were. */
  readonly ownCommits: OwnCommits;
  close(): void;
}

/** In the namespace of this process. The first call of the driver opens the sockets. */
export function openAccounting(): Accounting {
  const ownCommits = new OwnCommits();
  const open = (protocol: number) => openNetlinkSocket(protocol, { sendBufferBytes });
  const [netlink, journal] = [openNetlink(NETLINK_NETFILTER, { open }), openCommitJournal()];
  return {
    driver: createAccountingDriver({ netlink, journal, ownCommits }),
    netlink,
    ownCommits,
    close() {
      netlink.close();
      journal.close();
    },
  };
}

/** For what belongs to a transaction, which is finished once begun. */
const timeoutMs = 10_000;
const maxAttempts = 3;
/** A kernel that refuses the table is not asked again for so long. */
const refusedMs = 600_000;

class Driver implements AccountingDriver {
  readonly #netlink: ConversingConnection;
  readonly #nowMs: () => number;
  readonly #commits: TableCommits;
  readonly #reading: KeptReading<ObservedAccounting, AccountingTransaction>;
  readonly #keep = stabilizeChunked(isSameAccountingChunked);
  #hasNftables: boolean | undefined;
  #refusedUntilMs = Number.NEGATIVE_INFINITY;
  #last: ObservedAccounting | undefined;
  /** As last read, without those of EIPs that were removed since. */
  #counts: RawCounts = new Map();
  readonly #rendering = new Rendering();

  constructor({ netlink, journal, ownCommits, nowMs }: Required<AccountingDriverOptions>) {
    this.#netlink = netlink;
    this.#nowMs = nowMs;
    this.#commits = new TableCommits(tableLabel(accountingTable), journal, ownCommits);
    this.#reading = new KeptReading(netlink, this.#commits, {
      all: (signal) => orUndefinedWhereGone(this.#readAll(signal)),
      touched: (last, written, signal) => orUndefinedWhereGone(this.#reread(last, written, signal)),
    });
  }

  get isCounting(): boolean {
    return this.#last?.definition !== undefined;
  }

  async observe(signal: AbortSignal): Promise<ObservedAccounting | undefined> {
    this.#hasNftables ??= await hasNftables(this.#netlink, signal);
    const isPossible = this.#hasNftables && this.#nowMs() >= this.#refusedUntilMs;
    const read = isPossible ? await this.#reading.read(signal) : undefined;
    this.#last = read && (await runYielding(this.#keep(read)));
    return this.#last;
  }

  async isCurrent(signal: AbortSignal): Promise<boolean> {
    if (this.#hasNftables === false) return true;
    const last = this.#last;
    return last !== undefined && (await this.observe(signal)) === last;
  }

  async apply(
    steps: readonly AccountingStep[],
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<AccountingStep>[]> {
    const failures: DriverFailure<AccountingStep>[] = [];
    for (const step of steps) {
      signal.throwIfAborted();
      const error = await this.#write(step.transaction);
      if (error !== undefined) failures.push({ step, code: codeOf(error), message: error.message });
    }
    return failures;
  }

  async readCounts(signal: AbortSignal): Promise<RawCounts> {
    if (this.#hasNftables !== true) return new Map();
    this.#counts =
      (await orUndefinedWhereGone(readRawCounts(this.#netlink, counterSets, signal))) ?? new Map();
    return this.#counts;
  }

  async #write(transaction: AccountingTransaction): Promise<GatewayError | undefined> {
    const { definition, add, remove, strays } = transaction;
    if (definition !== undefined || add.length + remove.length > 0) {
      const seeds = await this.#seedsFor(transaction);
      const messages = await runYielding(encodeAccounting(transaction, seeds));
      const error = await this.#commit({ ...transaction, strays: [] }, messages);
      if (error !== undefined) return error;
      if (definition?.make !== undefined) await this.#learn(definition.make);
    }
    const uncounted = [...remove, ...strays];
    if (uncounted.length === 0) return undefined;
    const counts = new Map(this.#counts);
    for (const eip of uncounted) counts.delete(eip);
    this.#counts = counts;
    // The counters are deleted only now: after the first commit no packet can create them again.
    return this.#commit({ ...noTransaction, strays: uncounted }, encodeDeleteCounters(uncounted));
  }

  /** What a table that is made again, or elements that another program removed, had counted. */
  async #seedsFor({ definition, add }: AccountingTransaction): Promise<RawCounts> {
    const known = this.#counts;
    if (add.length === 0 || definition?.isReplaced !== true) return known;
    const now = await this.readCounts(AbortSignal.timeout(timeoutMs));
    return new Map([...known, ...now]);
  }

  async #commit(
    transaction: AccountingTransaction,
    messages: readonly NetlinkMessage[],
  ): Promise<GatewayError | undefined> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (let attempt = 1; ; attempt++) {
      // It names only the agent's own table, so what others wrote meanwhile does not matter.
      const outcome: Outcome = await this.#reading.write(
        transaction,
        messages,
        await readGeneration(this.#netlink, signal),
      );
      if (outcome.kind === "done") return undefined;
      if (outcome.kind === "stale" && attempt < maxAttempts) continue;
      if (outcome.kind === "stale") return staleError();
      if (isFinal(transaction, outcome.error.code)) this.#refusedUntilMs = this.#nowMs() + refusedMs;
      return refusalError(outcome, `table ${tableLabel(accountingTable)}`);
    }
  }

  /** Everything, counters included. */
  async #readAll(signal: AbortSignal): Promise<ObservedAccounting> {
    await this.#commits.restart(() => readGeneration(this.#netlink, signal));
    const definition = await this.#readDefinition(signal);
    if (definition === undefined) return noAccounting;
    const lines = new Set(definition);
    const isReadable = (set: typeof eipSet | (typeof counterSets)[number]) =>
      lines.has(accountingSetLines.get(set) ?? "");
    const eips = isReadable(eipSet) ? await readEips(this.#netlink, signal) : new Set<string>();
    this.#counts = await readRawCounts(this.#netlink, counterSets.filter(isReadable), signal);
    const strays = new Set(this.#counts.keys().filter((eip) => !eips.has(eip)));
    return { definition, eips, strays };
  }

  /** The last reading after own transactions, each of which was applied as a whole. */
  async #reread(
    last: ObservedAccounting,
    written: readonly AccountingTransaction[],
    signal: AbortSignal,
  ): Promise<ObservedAccounting> {
    let [eips, strays] = [new Set(last.eips), new Set(last.strays)];
    for (const { definition, add, remove, strays: removed } of written) {
      if (definition !== undefined) [eips, strays] = [new Set(), new Set()];
      for (const eip of remove) eips.delete(eip);
      for (const eip of add) eips.add(eip);
      for (const eip of removed) strays.delete(eip);
    }
    const isMade = written.some(({ definition }) => definition !== undefined);
    return { definition: isMade ? await this.#readDefinition(signal) : last.definition, eips, strays };
  }

  async #readDefinition(signal: AbortSignal): Promise<DefinitionLines> {
    const reader = new DefinitionReader(accountingTable);
    const dump = (message: NetlinkMessage) =>
      this.#netlink.dump(message, (...part) => reader.read(...part), signal, forget);
    await dump(allTables);
    if (reader.lines === undefined) return undefined;
    await dump(allChains);
    for (const request of contentsOf(accountingTable)) await dump(request);
    return this.#rendering.recognize(reader.lines);
  }

  /** Learns how this kernel dumps the table: reads it right after its creation, and ignores that if another program committed since. */
  async #learn(definition: Parameters<typeof accountingLines>[0]): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    const dumped = await this.#readDefinition(signal);
    if (dumped === undefined || (await readGeneration(this.#netlink, signal)) !== this.#reading.generation)
      return;
    const sent = accountingLines(definition);
    // What was recognized is no longer as the kernel dumps it.
    if (!isSameDefinition(dumped, sent)) this.#rendering.learn(sent, dumped);
  }
}

/** True if this kernel cannot make the table. False if another program was in the way. */
function isFinal({ definition }: AccountingTransaction, code: string): boolean {
  if (definition?.make === undefined || code === "EEXIST" || code === "EBUSY") return false;
  return code !== "ENOENT" || !definition.isReplaced;
}

function codeOf({ code, details }: GatewayError): string {
  return typeof details.code === "string" ? details.code : code;
}
