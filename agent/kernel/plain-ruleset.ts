/** What a dataplane gives the cache of its ruleset: plain reading and writing, and what differs between dataplanes. */
import type { Commit } from "../../lib/nftables/commits.ts";
import type { WriteOutcome } from "./drivers.ts";

/** Tells whether the ruleset moved: the generation of nf_tables, or a digest of all tables. */
export type Stamp = number | string;

/** What the cache looks at in a payload. */
export interface RulesetPayload<Observed> {
  /** One transaction each. */
  readonly steps: readonly { readonly kind: string }[];
  /** What the plan was made on, where it may not be written to anything else. */
  readonly base?: Observed;
  /** What the next reading should find, in a form of the dataplane's own. Has it read ahead. */
  readonly expected?: unknown;
}

export type StepOf<Payload extends RulesetPayload<unknown>> = Payload["steps"][number];

/** A reading, and what was written since. */
export interface KnownRuleset<Observed, Payload extends RulesetPayload<Observed>> {
  readonly observed: Observed;
  /** As own commits have left it; `undefined` where nothing tells. */
  readonly stamp: Stamp | undefined;
  /** As the reading found it. */
  readonly readAt: Stamp | undefined;
  /** Own writes since `observed`. */
  readonly written: readonly StepOf<Payload>[];
  readonly auditedAtMs: number;
}

/** Values that a reading gives back where it finds the same: not parsed again, and not kept twice. */
export interface NearReadings<Observed, Payload extends RulesetPayload<Observed>> {
  readonly last: Observed | undefined;
  readonly expected: Payload["expected"];
}

/** The step as it was written, or why it was not. */
export type StepResult<Payload extends RulesetPayload<unknown>> =
  | { readonly written: StepOf<Payload> }
  | {
      readonly failure: Exclude<WriteOutcome<Payload>, { readonly kind: "done" }>;
      /** True where what was read before is still to be trusted. */
      readonly isReadingTrue: boolean;
    };

export interface PlainRuleset<Observed, Payload extends RulesetPayload<Observed>> {
  /** A digest costs a third of a reading, and own writes change it to nobody knows what. */
  readonly stampKind: "generation" | "digest";
  /** True where one reading is of one state, whoever writes meanwhile. */
  readonly isReadingAtomic: boolean;
  /** Absent where nothing tells whether the ruleset moved; `undefined` where it cannot be told now. */
  readonly readStamp?: ((signal: AbortSignal) => Promise<Stamp | undefined>) | undefined;
  /** Everything. */
  readAll(near: NearReadings<Observed, Payload>, signal: AbortSignal): Promise<Observed>;
  /**
   * The last reading with what own writes touched; `undefined` where only a whole reading can tell, or anything else changed.
   * `isStamped`: a stamp proves besides that nobody else wrote.
   */
  readWritten(
    last: Observed,
    written: readonly StepOf<Payload>[],
    near: NearReadings<Observed, Payload> & { readonly isStamped: boolean },
    signal: AbortSignal,
  ): Promise<Observed | undefined>;
  /** The last reading with what a commit touched; `undefined` where that is better told by a whole reading. */
  readTouched(last: Observed, commit: Commit, signal: AbortSignal): Promise<Observed | undefined>;
  /** One transaction. Throws where nobody knows what became of it. */
  write(
    step: StepOf<Payload>,
    known: KnownRuleset<Observed, Payload> | undefined,
    isRetry: boolean,
    signal: AbortSignal,
  ): Promise<StepResult<Payload>>;
  /** True where the events of this own step are worth fetching: few, and it is read back by them. */
  isReadByEvents(step: StepOf<Payload>): boolean;
  isSame(one: Observed, other: Observed): boolean;
  /** What was read right after own writes alone, in the words in which it was written. */
  recognize?(read: Observed, written: readonly StepOf<Payload>[]): Observed;
}
