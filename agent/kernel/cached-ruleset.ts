/**
 * A cache of the ruleset around the plain reader and writer of one dataplane. A stamp tells whether the ruleset
 * changed: the generation of nf_tables, which every commit of any writer raises by one, or a digest of the
 * iptables-legacy tables, whose kernel interface has no counter. While the stamp is unchanged, or changed only by own
 * commits, the last reading is valid except for what was written.
 *
 * So reading an unchanged ruleset costs one stamp. Reading after writes costs what the writes touched: own writes are
 * known, those of others come from the commit journal. Everything is read at the start, when nothing tells what was
 * touched, when too much was touched, after a transaction with an unknown result, and every few minutes in any case.
 */
import { GatewayError } from "../../lib/model/errors.ts";
import { nextGeneration } from "../../lib/nftables/commits.ts";
import { Mutex } from "../mutex.ts";
import type { CommitJournal } from "./commit-journal.ts";
import type { IncrementalRules, WriteOutcome } from "./drivers.ts";
import type { KnownRuleset, PlainRuleset, RulesetPayload, Stamp } from "./plain-ruleset.ts";

export interface CacheOptions {
  /** Without a journal, every write of another program causes a full reading. */
  readonly journal?: CommitJournal | undefined;
  /** Maximum time between full readings, in ms. */
  readonly auditIntervalMs?: number | undefined;
  /** Monotonic clock. */
  readonly nowMs?: (() => number) | undefined;
}

const maxReadings = 5;

export class CachedRuleset<Observed, Payload extends RulesetPayload<Observed>>
  implements IncrementalRules<Observed>
{
  readonly #plain: PlainRuleset<Observed, Payload>;
  readonly #journal: CommitJournal | undefined;
  readonly #auditIntervalMs: number;
  readonly #nowMs: () => number;
  #known: KnownRuleset<Observed, Payload> | undefined;
  /** What the next reading should find. */
  #expected: Payload["expected"] = undefined;
  readonly #turns = new Mutex();
  #isForgotten = false;

  constructor(plain: PlainRuleset<Observed, Payload>, options: CacheOptions = {}) {
    const { journal, auditIntervalMs = 600_000, nowMs = () => performance.now() } = options;
    this.#plain = plain;
    this.#journal = journal;
    this.#auditIntervalMs = auditIntervalMs;
    this.#nowMs = nowMs;
  }

  /** Waits for a reading in progress, and uses its result if the stamp still matches. */
  read(signal: AbortSignal): Promise<Observed> {
    return this.#turns.run(() => this.#read(signal));
  }

  /** The next reading reads everything, whatever the stamp says. A plan made before is then refused as raced. */
  forget(): void {
    this.#isForgotten = true;
    this.#plain.forget?.();
  }

  verified(signal: AbortSignal): Promise<Observed | undefined> {
    return this.#turns.run(() => this.#verified(signal));
  }

  base(signal: AbortSignal): Promise<Observed | undefined> {
    // A digest is expensive. With a digest, verify() reads everything, which also proves the base.
    return this.#turns.run(async () => (this.#isDigest ? this.#unwritten : this.#verified(signal)));
  }

  verify(signal: AbortSignal): Promise<Observed | undefined> {
    return this.#turns.run(async () => {
      const known = this.#known;
      if (known === undefined || this.#isAuditDue(known)) return undefined;
      if (this.#isDigest) {
        // Not taken again after the reading: whoever relies on it takes another one.
        const stamp = await this.#stamp(signal);
        const read = await this.#readWritten(known, undefined, signal);
        return read && this.#learn(read, stamp, known.auditedAtMs);
      }
      if (known.stamp === undefined || (await this.#stamp(signal)) !== known.stamp) return undefined;
      return this.#readOwnWrites(known, signal);
    });
  }

  /** Applies the steps in order, each in its own transaction. A transaction that has begun is finished. */
  write(payload: Payload, signal: AbortSignal, isRetry = false): Promise<WriteOutcome<Payload>> {
    return this.#turns.run(() => this.#write(payload, signal, isRetry));
  }

  get #isDigest(): boolean {
    return this.#plain.stampKind === "digest";
  }

  get #unwritten(): Observed | undefined {
    const known = this.#known;
    return known === undefined || known.written.length > 0 || this.#isAuditDue(known)
      ? undefined
      : known.observed;
  }

  #isAuditDue({ auditedAtMs }: KnownRuleset<Observed, Payload>): boolean {
    return this.#isForgotten || this.#nowMs() - auditedAtMs >= this.#auditIntervalMs;
  }

  async #read(signal: AbortSignal): Promise<Observed> {
    const known = this.#known;
    if (known === undefined || this.#isAuditDue(known)) return this.#audit(undefined, signal);
    const stamp = await this.#stamp(signal);
    const isOwn = stamp !== undefined && stamp === known.stamp;
    const read = isOwn ? this.#readOwnWrites(known, signal) : this.#catchUp(known, signal);
    return (await read) ?? this.#audit(stamp, signal);
  }

  async #verified(signal: AbortSignal): Promise<Observed | undefined> {
    const known = this.#known;
    if (known?.stamp === undefined || this.#unwritten === undefined) return undefined;
    if ((await this.#stamp(signal)) === known.stamp) return this.#unwritten;
    // Commits to other tables leave the reading as it was.
    return (await this.#catchUp(known, signal)) === known.observed ? this.#unwritten : undefined;
  }

  async #write(payload: Payload, signal: AbortSignal, isRetry: boolean): Promise<WriteOutcome<Payload>> {
    signal.throwIfAborted();
    if (!this.#isPlannedOnKnown(payload)) {
      const error = new GatewayError("netlink-failed", "the ruleset was read again after the plan was made");
      return { kind: "raced", error };
    }
    for (const step of payload.steps) {
      signal.throwIfAborted();
      const known = this.#known;
      // After an unknown result the reading is not trusted: a table can disappear with the program that owned it,
      // without a new generation.
      this.#known = undefined;
      const result = await this.#plain.write(step, known, isRetry, signal);
      if ("failure" in result) {
        if (result.isReadingValid) this.#known = known;
        return result.failure;
      }
      this.#noteWritten(known, result.written);
    }
    if (payload.expected !== undefined && payload.steps.length > 0) {
      this.#expected = payload.expected;
      this.#readAhead(signal);
    }
    return { kind: "done" };
  }

  /** Own writes of another kind since then do not affect what was planned on. */
  #isPlannedOnKnown({ base, steps }: Payload): boolean {
    if (base === undefined || steps.length === 0) return true;
    if (this.#known?.observed !== base) return false;
    return !this.#known.written.some((written) => steps.some(({ kind }) => kind === written.kind));
  }

  #noteWritten(known: KnownRuleset<Observed, Payload> | undefined, step: Payload["steps"][number]): void {
    if (!this.#plain.isReadByEvents(step)) this.#journal?.restart();
    if (known === undefined) return;
    const stamp = known.stamp === undefined ? undefined : this.#stampAfter(known.stamp, step);
    this.#known = { ...known, stamp, written: [...known.written, step] };
  }

  #stampAfter(stamp: Stamp, step: Payload["steps"][number]): Stamp | undefined {
    return typeof stamp === "number" ? nextGeneration(stamp) : this.#plain.digestAfter?.(stamp, step);
  }

  /** Starts reading what was written, while the caller does other work. */
  #readAhead(signal: AbortSignal): void {
    // Without a stamp nothing can prove the result later.
    if (this.#plain.readStamp === undefined) return;
    const read = () => (this.#isDigest ? this.#readUnproven(signal) : this.#read(signal));
    // The next reading reports the same error.
    this.#turns.run(read).catch(() => undefined);
  }

  /** Does not verify the result: the next reading takes a stamp anyway. */
  async #readUnproven(signal: AbortSignal): Promise<Observed> {
    const stamp = await this.#stamp(signal);
    const auditedAtMs = this.#nowMs();
    return this.#learn(await this.#plain.readAll(this.#earlier, signal), stamp, auditedAtMs);
  }

  async #readOwnWrites(
    known: KnownRuleset<Observed, Payload>,
    signal: AbortSignal,
  ): Promise<Observed | undefined> {
    return known.written.length === 0 ? known.observed : this.#readWritten(known, known.stamp, signal);
  }

  /** The last reading updated by own writes. `undefined` if only a full reading can tell. */
  async #readWritten(
    { observed, written, auditedAtMs }: KnownRuleset<Observed, Payload>,
    stamp: Stamp | undefined,
    signal: AbortSignal,
  ): Promise<Observed | undefined> {
    const isStamped = stamp !== undefined;
    const read = await this.#plain.readWritten(observed, written, { ...this.#earlier, isStamped }, signal);
    if (read === undefined || (isStamped && !(await this.#isStillAt(stamp, signal)))) return undefined;
    return this.#learn(read, stamp, auditedAtMs);
  }

  /** Whether what was just read is of this stamp, which was taken before. */
  async #isStillAt(stamp: Stamp, signal: AbortSignal): Promise<boolean> {
    if (typeof stamp === "string" && this.#plain.isStillAt) return this.#plain.isStillAt(stamp, signal);
    return (await this.#stamp(signal)) === stamp;
  }

  /** The last reading updated by what any process touched. `undefined` if more may have changed. */
  async #catchUp(
    { observed, readAt, auditedAtMs }: KnownRuleset<Observed, Payload>,
    signal: AbortSignal,
  ): Promise<Observed | undefined> {
    for (let reading = 1; reading <= (this.#plain.isReadingAtomic ? 1 : maxReadings); reading++) {
      const commit = typeof readAt === "number" ? this.#journal?.since(readAt) : undefined;
      const read = commit && (await this.#plain.readTouched(observed, commit, signal));
      if (commit === undefined || read === undefined) return undefined;
      // The kernel raises the generation before it sends the event.
      if ((await this.#stamp(signal)) === commit.generation)
        return this.#learn(read, commit.generation, auditedAtMs);
    }
    return undefined;
  }

  /** @param taken a stamp taken just before */
  async #audit(taken: Stamp | undefined, signal: AbortSignal): Promise<Observed> {
    for (let reading = 1; reading <= maxReadings; reading++) {
      this.#journal?.restart();
      // The journal needs a generation newer than its start.
      const isTaken = reading === 1 && this.#journal === undefined && taken !== undefined;
      const stamp = isTaken ? taken : await this.#stamp(signal);
      const auditedAtMs = this.#nowMs();
      const read = await this.#plain.readAll(this.#earlier, signal);
      if (stamp !== undefined && (await this.#stamp(signal)) === stamp) {
        this.#isForgotten = false;
        const written = this.#known?.stamp === stamp ? this.#known.written : [];
        return this.#learn(this.#plain.recognize?.(read, written) ?? read, stamp, auditedAtMs);
      }
      if (this.#plain.isReadingAtomic) {
        this.#isForgotten = false;
        return this.#learn(read, undefined, auditedAtMs);
      }
    }
    throw new GatewayError("netlink-failed", `the ruleset changed during all ${maxReadings} readings`);
  }

  get #earlier() {
    return { last: this.#known?.observed, expected: this.#expected };
  }

  #learn(read: Observed, stamp: Stamp | undefined, auditedAtMs: number): Observed {
    const last = this.#known?.observed;
    // An equal reading keeps its identity, so that nothing is planned again.
    const observed = last !== undefined && this.#plain.isSame(last, read) ? last : read;
    if (typeof stamp === "number") this.#journal?.forget(stamp);
    this.#known = { observed, stamp, readAt: stamp, written: [], auditedAtMs };
    this.#expected = undefined;
    return observed;
  }

  /** `undefined` if nothing tells whether the ruleset changed. */
  async #stamp(signal: AbortSignal): Promise<Stamp | undefined> {
    const beginReading = this.#journal?.beginReading();
    const stamp = await this.#plain.readStamp?.(signal);
    if (typeof stamp === "number") beginReading?.(stamp);
    return stamp;
  }
}
