/**
 * The reconciler: the loop, its passes, and what others may ask of them. Keeps what the last pass found, tells the
 * status board, and lets nobody but the pass in hand write to the kernel.
 */

import { endsAt, hasEndOf } from "../../lib/conntrack/ends.ts";
import type { Flow } from "../../lib/conntrack/flow.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import { type ObjectId, objectId } from "../../lib/model/names.ts";
import type { State, StateChange } from "../../lib/state/state.ts";
import type { AddressOnLink } from "../kernel/drivers.ts";
import { runYielding } from "../run-yielding.ts";
import type { PublishedPass, StatusBoard } from "../status/board.ts";
import { HeldEips } from "./eips/held-eips.ts";
import { IncrementalPass, maxObjects } from "./incremental/incremental-pass.ts";
import { type PassOutcome, type PassRequest, ReconcileLoop } from "./loop.ts";
import { Mutex } from "./mutex.ts";
import { type DryRun, preview } from "./operations/dry-run.ts";
import { type Released, release } from "./operations/release.ts";
import type { Seen } from "./pass/outlook.ts";
import { Pass } from "./pass/pass.ts";
import type { PassDeps, PassResult } from "./pass/pass-result.ts";
import { type PassReport, reportOf } from "./pass/report.ts";

export interface ReconcilerDeps extends PassDeps {
  readonly board: StatusBoard;
  readonly resyncIntervalMs: number;
  /** Told after every pass that could be made. */
  readonly onPass: (findings: PassResult, report: PassReport) => void;
  /** Told of every pass that could not be made. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

/** A pass that began is brought to its end: half a transaction is nobody's wish. Every effect has its deadline. */
const neverAborted = new AbortController().signal;

export class Reconciler {
  readonly #parts: ReconcilerDeps;
  readonly #pass: Pass;
  readonly #narrowPass: IncrementalPass;
  readonly #loop: ReconcileLoop;
  readonly #turnstile = new Mutex();
  readonly #holdings = new HeldEips();
  #findings: PassResult | undefined;
  #report: PassReport | undefined;
  #failure: GatewayError | undefined;
  #hasVerified = false;
  /** What was written since the last pass began. */
  #written: Set<ObjectId> | "anything" = "anything";
  /** Rules were written, by whom is yet to be looked at. */
  #isLookDue = false;

  constructor(parts: ReconcilerDeps) {
    this.#parts = parts;
    this.#pass = new Pass(parts);
    this.#narrowPass = new IncrementalPass(parts, this.#pass.unswept);
    this.#loop = new ReconcileLoop({
      pass: (request) => this.#turnstile.pass(() => this.#run(request)),
      resyncIntervalMs: parts.resyncIntervalMs,
      onFailure: (error, retryInMs) => {
        this.#failure = toGatewayError(error);
        parts.onFailure(error, retryInMs);
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** To be told of every change of the state, as soon as the state is in force. */
  note(changes: readonly StateChange[]): void {
    for (const change of changes) {
      if (change.type === "gateway") this.#written = "anything";
      if (this.#written === "anything") return;
      if (change.type === "put") this.#written.add(objectId(change.kind, change.object.spec.name));
      if (change.type === "delete") this.#written.add(objectId(change.kind, change.name));
      if (this.#written.size > maxObjects) this.#written = "anything";
    }
  }

  /**
   * Somebody wrote rules, the agent perhaps: a pass looks at it, but where the kernel proves that it was the agent. That
   * cannot be told while a pass is at work.
   */
  async wakeUnlessOwn(reason: string): Promise<void> {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    const isOwn = await this.#turnstile.pass(() => this.#wroteAlone());
    if (!isOwn) this.#loop.wake(reason);
  }

  async #wroteAlone(): Promise<boolean> {
    this.#isLookDue = false;
    // Somebody may have written while the last pass read back: it saw what was done and could not undo it.
    if (this.#findings === undefined || this.#findings.residual.rules.changes.length > 0) return false;
    try {
      return (await this.#parts.dataplane.shortcut?.current(neverAborted)) !== undefined;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return false;
    }
  }

  wake(reason: string): void {
    this.#loop.wake(reason);
  }

  /** After events were lost: everything is looked at again. */
  wakeFull(reason: string): void {
    this.#loop.wakeFull(reason);
  }

  reconcile(reason: string, signal: AbortSignal): Promise<PassReport> {
    return this.#loop.run(reason, signal);
  }

  /** What the last pass found; `undefined` before the first. */
  get findings(): PassResult | undefined {
    return this.#findings;
  }

  /** True where the last reading found the address on that link, however it is bound. */
  holds(place: AddressOnLink): boolean {
    return this.#holdings.holds(place, this.network);
  }

  /** The EIPs that the last pass wanted and the last reading found. */
  get heldEips(): ReadonlyMap<Ipv4, AddressOnLink> {
    const { findings, network } = this;
    if (findings === undefined || network === undefined) return new Map();
    return this.#holdings.eips(findings.residual.compiled.program, network);
  }

  get lastReport(): PassReport | undefined {
    return this.#report;
  }

  /** Why no pass can be made at present; `undefined` while passes are made. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /** True once a full pass has verified in this life. */
  get hasVerified(): boolean {
    return this.#hasVerified;
  }

  /** As last read, by whomever. */
  get network() {
    return this.#pass.lastNetwork;
  }

  get ownAddresses(): ReadonlySet<Ipv4> {
    return this.#findings?.residual.own ?? new Set();
  }

  get isUnadopted(): boolean {
    return this.#findings !== undefined && this.#findings.verdicts === undefined;
  }

  preview(state: State, signal: AbortSignal): Promise<DryRun> {
    return preview(this.#parts, this.#pass, state, signal);
  }

  connections(
    eip: Ipv4,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ total: number; flows: readonly Flow[] }> {
    const ends = endsAt(eip);
    return this.#parts.conntrack.find(hasEndOf(ends), limit, signal, ends);
  }

  release(address: Ipv4, signal: AbortSignal): Promise<Released> {
    return this.#turnstile.pass(async () => {
      const released = await release(this.#parts, this.#pass, address, signal);
      this.wakeFull("release");
      return released;
    });
  }

  async #run(request: PassRequest): Promise<PassOutcome> {
    const startedAtMs = this.#parts.clock.wallMs();
    const begunMs = performance.now();
    const findings = (await this.#runNarrow(request)) ?? (await this.#runWhole(request));
    const took = (performance.now() - begunMs) / 1000;
    const report = reportOf(request, findings, this.#parts.dataplane, { startedAtMs, took });
    this.#report = report;
    this.#failure = undefined;
    this.#parts.onPass(findings, report);
    return { report, dueInMs: findings.dueInMs };
  }

  async #runWhole(request: PassRequest): Promise<PassResult> {
    this.#written = new Set();
    const { lastSeen } = this.#pass;
    const findings = await this.#pass.run(request, neverAborted).catch((error: unknown) => {
      this.#withdraw(lastSeen);
      throw error;
    });
    this.#findings = findings;
    if (findings.verdicts !== undefined) {
      await runYielding(this.#parts.board.publish(this.#resultOf(findings, findings.verdicts)));
      this.#hasVerified ||= findings.gate === "open";
    }
    return findings;
  }

  /** A pass that read the kernel and came to no end: what it found missing is not Ready any more. */
  #withdraw(seenBefore: Seen | undefined): void {
    const { store, board, clock } = this.#parts;
    const state = store.current;
    const { lastSeen } = this.#pass;
    if (lastSeen === undefined || lastSeen === seenBefore) return;
    const verifiedAt = new Date(clock.wallMs()).toISOString();
    board.withdraw({ state, verdicts: this.#pass.judge(state, lastSeen), verifiedAt });
  }

  /** Where nothing but a few objects was written since a pass that left nothing undone. */
  async #runNarrow({ reasons, isFull }: PassRequest): Promise<PassResult | undefined> {
    const { store, board } = this.#parts;
    const base = this.#findings;
    const written = this.#written;
    if (
      base === undefined ||
      written === "anything" ||
      isFull ||
      reasons.some((reason) => reason !== "write")
    ) {
      return undefined;
    }
    const state = store.current;
    this.#written = new Set();
    const found = await this.#narrowPass.run(written, state, base, neverAborted);
    if (found === undefined) return undefined;
    const findings: PassResult = {
      ...base,
      state,
      residual: { ...base.residual, compiled: { ...base.residual.compiled, blocked: found.blocked } },
      changes: found.changes,
      sweep: found.sweep,
      repairs: [],
      dueInMs: this.#pass.dueInMs(state),
    };
    this.#pass.follow(base, findings);
    this.#findings = findings;
    board.publishPart(this.#resultOf(findings, found.verdicts), found.reached);
    return findings;
  }

  #resultOf({ state, isClean }: PassResult, verdicts: PublishedPass["verdicts"]): PublishedPass {
    return { state, verdicts, isClean, verifiedAt: new Date(this.#parts.clock.wallMs()).toISOString() };
  }
}

function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  return new GatewayError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}
