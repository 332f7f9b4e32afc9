/** What the API needs of the rest of the agent; the composition root provides it. */
import type { Chunked } from "../../lib/chunked.ts";
import type { Flow } from "../../lib/conntrack/flow.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Reason, Status } from "../../lib/model/status.ts";
import type { Instant, State } from "../../lib/state/state.ts";
import type { DryRun } from "../reconciler/operations/dry-run.ts";
import type { Released } from "../reconciler/operations/release.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import type { GatewayStatus } from "../status/summary.ts";
import type { WaitOutcome } from "../status/waiting.ts";

export interface ClockPort {
  now(): Instant;
}

/** What is said of objects at one instant; it does not change. */
export interface ViewPort {
  /** The state that statuses are held against. */
  readonly state: State;
  /** Ready False, reason Pending, where no pass has seen the object yet. */
  statusOf(id: ObjectId): Status;
  /** `statusOf(id).ready`, for those who ask about thousands. */
  isObjectReady(id: ObjectId): boolean;
  /** True where one of the object's conditions has that reason. */
  hasReason(id: ObjectId, reason: Reason): boolean;
  /** To go through first where thousands of statuses are asked for. */
  prepare(): Chunked<void>;
}

export interface BoardPort {
  view(): ViewPort;
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
  summary(): Chunked<GatewayStatus>;
}

export interface ReconcilerPort {
  /** Sees to it that a pass that has seen everything written so far will run. Never waits. */
  wake(reason: string): void;
  /**
   * Somebody wrote these objects, changed or not: the wire is asked at once about addresses of theirs that another station holds.
   * Resolves once what is free now was taken, when the time is up, or at the signal. Never rejects.
   *
   * @returns what is left of `timeoutMs`
   */
  askAgain(ids: readonly ObjectId[], timeoutMs: number, signal: AbortSignal): Promise<number>;
  /** A full pass, begun after the call. */
  reconcile(reason: string, signal: AbortSignal): Promise<PassReport>;
  /** What a pass would do for `state`; changes nothing. */
  preview(state: State, signal: AbortSignal): Promise<DryRun>;
  /** The network as the last pass read it; `undefined` before the first. */
  readonly network: ObservedNetwork | undefined;
  /** The gateway's own addresses as last observed. */
  readonly ownAddresses: ReadonlySet<Ip>;
  /** True while single writes are refused because live state was not adopted. */
  readonly isUnadopted: boolean;
  /** Live flows on an EIP, either direction. */
  connections(
    eip: Ip,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ readonly total: number; readonly flows: readonly Flow[] }>;
  /** Takes an orphan with its owned rules and flows out of the kernel. */
  release(address: Ip, signal: AbortSignal): Promise<Released>;
}
