/** What a dataplane gives to the ruleset cache: plain reading and writing, and the differences between dataplanes. */
import type { Commit } from "../../lib/nftables/commits.ts";
import type { WriteOutcome } from "./drivers.ts";

/** Tells whether the ruleset changed: the generation of nf_tables, or a digest of all tables. */
export type Stamp = number | string;

/** What the cache needs of a payload. */
export interface RulesetPayload<Observed> {
  /** One transaction each. */
  readonly steps: readonly { readonly kind: string }[];
  /** The reading that the plan is based on, if it may be applied only to that. */
  readonly base?: Observed;
  /** What the next reading should find, in a form of the dataplane. If set, the cache reads ahead. */
  readonly expected?: unknown;
}

export type StepOf<Payload extends RulesetPayload<unknown>> = Payload["steps"][number];

/** A reading, and what was written since. */
export interface KnownRuleset<Observed, Payload extends RulesetPayload<Observed>> {
  readonly observed: Observed;
  /** The stamp after own commits. `undefined` if there is none. */
  readonly stamp: Stamp | undefined;
  /** The stamp of the reading. */
  readonly readAt: Stamp | undefined;
  /** Own writes since `observed`. */
  readonly written: readonly StepOf<Payload>[];
  readonly auditedAtMs: number;
}

/**
 * Earlier values. A reader returns the same object for an equal part, so it is not parsed again and not stored twice.
 */
export interface EarlierReadings<Observed, Payload extends RulesetPayload<Observed>> {
  readonly last: Observed | undefined;
  readonly expected: Payload["expected"];
}

/** The step as it was written, or why it was not. */
export type StepResult<Payload extends RulesetPayload<unknown>> =
  | { readonly written: StepOf<Payload> }
  | {
      readonly failure: Exclude<WriteOutcome<Payload>, { readonly kind: "done" }>;
      /** True if the earlier reading can still be trusted. */
      readonly isReadingValid: boolean;
    };

export interface PlainRuleset<Observed, Payload extends RulesetPayload<Observed>> {
  /** A digest costs a third of a reading, and only {@link digestAfter} can predict its value after own writes. */
  readonly stampKind: "generation" | "digest";
  /** True if a reading shows one state even if others write in the meantime. */
  readonly isReadingAtomic: boolean;
  /** Absent if nothing tells whether the ruleset changed. Returns `undefined` if it cannot tell now. */
  readonly readStamp?: ((signal: AbortSignal) => Promise<Stamp | undefined>) | undefined;
  /** The digest after an own step, if it can be predicted. */
  digestAfter?(digest: string, step: StepOf<Payload>): string | undefined;
  /**
   * Called once steps with a predicted digest are read back: true if what such steps touch has not changed since this
   * digest. Absent: the digest is taken again, which costs more.
   */
  isStillAt?(digest: string, signal: AbortSignal): Promise<boolean>;
  /** The next {@link readAll} reads everything, whatever it has kept. */
  forget?(): void;
  /** Reads everything. */
  readAll(earlier: EarlierReadings<Observed, Payload>, signal: AbortSignal): Promise<Observed>;
  /**
   * The last reading updated by own writes. `undefined` if only a full reading can tell, or if anything else changed.
   * `isStamped`: a stamp also proves that no other program wrote.
   */
  readWritten(
    last: Observed,
    written: readonly StepOf<Payload>[],
    earlier: EarlierReadings<Observed, Payload> & { readonly isStamped: boolean },
    signal: AbortSignal,
  ): Promise<Observed | undefined>;
  /** The last reading updated by a commit. `undefined` if a full reading is better. */
  readTouched(last: Observed, commit: Commit, signal: AbortSignal): Promise<Observed | undefined>;
  /** Runs one transaction. Throws if its result is unknown. */
  write(
    step: StepOf<Payload>,
    known: KnownRuleset<Observed, Payload> | undefined,
    isRetry: boolean,
    signal: AbortSignal,
  ): Promise<StepResult<Payload>>;
  /** True if the events of this own step are worth fetching: they are few, and the step is read back by them. */
  isReadByEvents(step: StepOf<Payload>): boolean;
  isSame(one: Observed, other: Observed): boolean;
  /** Adapts a reading right after own writes to the form in which they were written. */
  recognize?(read: Observed, written: readonly StepOf<Payload>[]): Observed;
}
