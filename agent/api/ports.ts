/** What the API needs from the rest of the agent. The composition root provides it. */
import type { IfMatch } from "../../lib/admission/writes.ts";
import type { Chunked } from "../../lib/chunked.ts";
import type { Flow } from "../../lib/conntrack/flow.ts";
import type { Explanation, Question } from "../../lib/explain/explanation.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Reason, Status } from "../../lib/model/status.ts";
import type { Instant, State } from "../../lib/state/state.ts";
import type { EventHub } from "../events/hub.ts";
import type { FlowServices } from "../flows/flow-services.ts";
import type { DiagnosticPart } from "../kernel/diagnostics.ts";
import type { DryRun } from "../reconciler/operations/dry-run.ts";
import type { ReasonOf } from "../reconciler/operations/explain.ts";
import type { ImportedState } from "../reconciler/operations/import-live.ts";
import type { Released, ReleaseRequest } from "../reconciler/operations/release.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import type { GatewayStatus } from "../status/summary.ts";
import type { WaitOutcome } from "../status/waiting.ts";

export interface ClockPort {
  now(): Instant;
}

/** The status of objects at one instant. Immutable. */
export interface ViewPort {
  /** The state that the statuses are based on. */
  readonly state: State;
  /** Ready is False with reason Pending if no pass has seen the object yet. */
  statusOf(id: ObjectId): Status;
  /** The same without the users of an Eip. */
  briefStatusOf(id: ObjectId): Status;
  /** `statusOf(id).ready`, for thousands of objects. */
  isObjectReady(id: ObjectId): boolean;
  /** True if one of the object's conditions has this reason. */
  hasReason(id: ObjectId, reason: Reason): boolean;
  /** Run this first if thousands of statuses are needed. */
  prepare(): Chunked<void>;
}

/** What a request waits for, at `revision` or later. */
export interface WaitGoals {
  /** Objects that must be Ready. */
  readonly ready?: readonly ObjectId[];
  /** Objects that must be Programmed. */
  readonly programmed?: readonly ObjectId[];
  /** Objects that must be out of the kernel. */
  readonly gone: readonly ObjectId[];
  readonly revision: number;
}

export interface BoardPort {
  view(): ViewPort;
  /** Resolves when the goals are reached, or cannot be reached without another write. */
  wait(goals: WaitGoals, timeoutMs: number, signal: AbortSignal): Promise<WaitOutcome>;
  /** True after the first full pass of this process has verified. */
  readonly isReady: boolean;
  summary(): Chunked<GatewayStatus>;
}

/** What happened. The sequence and the objects that are read in one turn belong together. */
export type EventsPort = Pick<
  EventHub,
  "epoch" | "start" | "sequence" | "id" | "log" | "sequenceAgo" | "onEvents"
>;

export interface GatePort {
  /** A set was announced whose objects come one by one: the gate opens after some seconds without a write. */
  acceptOnceQuiet(): void;
  /** Somebody writes objects one by one, and waits for each: it is not quiet until the returned function is called. */
  expectMore(): () => void;
}

export interface ReconcilerPort {
  /** Ensures that a pass runs that sees everything written so far. Does not wait. */
  wake(reason: string): void;
  /**
   * These objects were written, changed or not: probes at once for their addresses that another host holds. Resolves
   * when free ones were added, after `timeoutMs`, or at the signal. Never rejects.
   *
   * @returns the rest of `timeoutMs`
   */
  probeFor(ids: readonly ObjectId[], timeoutMs: number, signal: AbortSignal): Promise<number>;
  readonly gate: GatePort;
  /** Runs a full pass that begins after the call. */
  reconcile(reason: string, signal: AbortSignal): Promise<PassReport>;
  /** What a pass would do for `state`. Changes nothing. */
  preview(state: State, signal: AbortSignal): Promise<DryRun>;
  /** What differs from the current state, by a reading of everything. Changes nothing. */
  audit(signal: AbortSignal): Promise<DryRun>;
  /** Reads the live state as a set, and takes it over if `isAdopted`. Writes nothing to the kernel. */
  importLive(isAdopted: boolean, ifMatch: IfMatch | undefined, signal: AbortSignal): Promise<ImportedState>;
  /** The network as the last pass read it. `undefined` before the first. */
  readonly network: ObservedNetwork | undefined;
  /** The gateway's own addresses as last observed. */
  readonly ownAddresses: ReadonlySet<Ip>;
  /** Addresses that nothing explains, as last observed. {@link release} takes these and no other. */
  readonly orphans: ReadonlySet<Ip>;
  /** True while single writes are refused because the live state is not adopted. */
  readonly isUnadopted: boolean;
  /** Why the last pass left chains, guard or gates undone. `undefined`: it did not. */
  readonly commonRulesFault: string | undefined;
  /** Resolved once the first pass has found whether it is. */
  readonly firstPass: Promise<void>;
  /** Live flows on an EIP, in both directions. */
  connections(
    eip: Ip,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ readonly total: number; readonly flows: readonly Flow[] }>;
  /** What becomes of a packet. Changes nothing. @throws `overloaded` */
  explain(question: Question, reasonOf: ReasonOf, signal: AbortSignal): Promise<Explanation>;
  /** Removes an orphan with its owned rules and flows from the kernel. */
  release(request: ReleaseRequest, signal: AbortSignal): Promise<Released>;
}

export interface DiagnosticsPort {
  /** A text for people. */
  read(part: DiagnosticPart, signal: AbortSignal): Promise<string>;
}

/** What is known of flows: from the last scan, and from the flow log. */
export type FlowsPort = Pick<FlowServices, "ports" | "top" | "who">;
