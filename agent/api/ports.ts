/** What the API needs of the rest of the agent; the composition root provides it. */

import type { Instant, State, StateChange } from "../../lib/admission/state.ts";
import type { Flow } from "../../lib/conntrack/flow.ts";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Status } from "../../lib/model/status.ts";
import type { Change } from "../../lib/plan/change.ts";

/** The durable state: one writer, group commit. */
export interface StatePort {
  /** The last durable state; immutable. */
  readonly current: State;
  /**
   * Runs `decide` on the newest state, alone, and makes its changes durable before it resolves. Changes that
   * belong together are durable together. `decide` is synchronous and pure; what it throws is thrown here and
   * nothing is written. Throws `storage-unavailable` where the disk refused: then nothing was written either.
   */
  transact<T>(
    decide: (state: State) => { readonly changes: readonly StateChange[]; readonly result: T },
  ): Promise<{ readonly state: State; readonly result: T }>;
}

export interface ClockPort {
  now(): Instant;
}

/** The outcome of waiting: all as asked, nothing more to be hoped for, or time is up. */
export type WaitOutcome = "done" | "settled" | "timeout" | "stopping";

export interface BoardPort {
  /** Ready False, reason Pending, where no pass has seen the object yet. */
  statusOf(id: ObjectId): Status;
  /** `statusOf(id).ready`, for those who ask about thousands. */
  isObjectReady(id: ObjectId): boolean;
  /** Resolves once every object of `ready` is Ready at `revision` or later and every one of `gone` is out of the kernel. */
  wait(
    goals: {
      readonly ready: readonly ObjectId[];
      readonly gone: readonly ObjectId[];
      readonly revision: number;
    },
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<WaitOutcome>;
  /** True once the first full pass of this life has verified. */
  readonly isReady: boolean;
  summary(): GatewayStatus;
}

export interface GatewayStatus {
  readonly version: string;
  readonly epoch: string;
  /** Why the gateway is less than whole, in stable words: `NotAdopted`, `MixedVariants`, `ForwardingOff`, `StateCorrupt` ... */
  readonly degraded: readonly { readonly reason: string; readonly message: string }[];
  readonly generation: { readonly desired: number; readonly applied: number };
  readonly revision: { readonly desired: number; readonly applied: number };
  readonly objects: Readonly<
    Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }>
  >;
  readonly lastReconcile: PassReport | null;
  readonly backend: string;
  readonly gate: "open" | "closed" | "unknown";
  readonly interfaces: Readonly<
    Record<
      string,
      {
        readonly name: string;
        readonly present: boolean;
        readonly up: boolean;
        readonly mac: string;
        readonly addresses: readonly string[];
      }
    >
  >;
}

export interface PassReport {
  readonly startedAt: string;
  /** Seconds. */
  readonly took: number;
  readonly reasons: readonly string[];
  readonly observed: { readonly rules: number; readonly addresses: number; readonly routes: number };
  readonly changed: number;
  readonly changes: readonly Change[];
  readonly failed: readonly {
    readonly object?: string;
    readonly stage: string;
    readonly code: string;
    readonly message: string;
    /** What was refused, in the words of its tool; absent where it was no single step. */
    readonly text?: string;
  }[];
  readonly flowsRemoved: number;
}

export interface Preview {
  readonly changes: readonly Change[];
  readonly changesTotal: number;
  /** Live flows that the change would end. */
  readonly flows: { readonly total: number; readonly items: readonly Flow[] };
}

export interface Released {
  readonly changes: readonly Change[];
  /** Rules of others that name it, in the words of the tool; they stay. */
  readonly foreignRules: readonly string[];
}

export interface ReconcilerPort {
  /** Sees to it that a pass that has seen everything written so far will run. Never waits. */
  wake(reason: string): void;
  /** A full pass, begun after the call. */
  reconcile(reason: string, signal: AbortSignal): Promise<PassReport>;
  /** What a pass would do for `state`; changes nothing. */
  preview(state: State, signal: AbortSignal): Promise<Preview>;
  /** The network as the last pass read it; `undefined` before the first. */
  readonly network: ObservedNetwork | undefined;
  /** The gateway's own addresses as last observed. */
  readonly ownAddresses: ReadonlySet<Ipv4>;
  /** True while single writes are refused because live state was not adopted. */
  readonly isUnadopted: boolean;
  /** Live flows on an EIP, either direction. */
  connections(
    eip: Ipv4,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ readonly total: number; readonly flows: readonly Flow[] }>;
  /** Takes an orphan with its owned rules and flows out of the kernel. */
  release(address: Ipv4, signal: AbortSignal): Promise<Released>;
}
