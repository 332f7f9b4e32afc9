/** Runs incremental and full passes, keeps the result of the last one, and publishes it. */

import { GatewayError } from "../../lib/model/errors.ts";
import { OrderedMap } from "../../lib/ordered-map.ts";
import type { Snapshot } from "../../lib/plan/plan-input.ts";
import type { Clock } from "../clock.ts";
import { runYielding } from "../run-yielding.ts";
import type { StateAccess } from "../store/state-access.ts";
import type { IncrementalPass } from "./incremental/incremental-pass.ts";
import type { PassOutcome } from "./loop.ts";
import type { Pass } from "./pass/pass.ts";
import type { PassResult } from "./pass/pass-result.ts";
import { type PassReport, reportOf } from "./pass/report.ts";
import type { PassRequest } from "./pass-request.ts";
import type { PublishedPass, VerdictSink } from "./verdict-sink.ts";

export interface PassRunnerDeps {
  readonly full: Pick<
    Pass,
    "run" | "recordIncrementalPass" | "announceNew" | "dueInMs" | "judge" | "lastSnapshot"
  >;
  readonly incremental: Pick<IncrementalPass, "run" | "onFullPassStart">;
  readonly store: Pick<StateAccess, "current">;
  readonly clock: Clock;
  readonly board: VerdictSink;
  /** Called after every pass that ran. */
  readonly onPass: (result: PassResult, report: PassReport) => void;
}

/** A pass that has begun is finished, so that no transaction is left half done. Every effect has a deadline. */
const neverAborted = new AbortController().signal;

export class PassRunner {
  readonly #deps: PassRunnerDeps;
  #result: PassResult | undefined;
  #lastPublished: PassResult | undefined;
  #report: PassReport | undefined;
  #failure: GatewayError | undefined;
  #isReady = false;
  readonly #first = Promise.withResolvers<void>();

  constructor(deps: PassRunnerDeps) {
    this.#deps = deps;
  }

  /** The result of the last pass. `undefined` before the first. */
  get result(): PassResult | undefined {
    return this.#result;
  }

  /** The last result, once its verdicts, if it has any, are published. `undefined` before the first. */
  get published(): PassResult | undefined {
    return this.#lastPublished;
  }

  /** Resolved once there is a result. */
  get first(): Promise<void> {
    return this.#first.promise;
  }

  get report(): PassReport | undefined {
    return this.#report;
  }

  /** True after a full pass of this process has verified. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Why the last pass could not run. `undefined` if it ran. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /** Runs one pass. Call it only when no other one is running. Rejects if the pass could not run at all. */
  async run(request: PassRequest): Promise<PassOutcome> {
    try {
      return await this.#run(request);
    } catch (error) {
      this.#failure = toGatewayError(error);
      throw error;
    }
  }

  async #run(request: PassRequest): Promise<PassOutcome> {
    const startedAtMs = this.#deps.clock.wallMs();
    const begunMs = performance.now();
    const result = (await this.#runIncremental(request)) ?? (await this.#runFull(request));
    this.#result = result;
    this.#lastPublished = result;
    const took = (performance.now() - begunMs) / 1000;
    const report = reportOf(request, result, { startedAtMs, took });
    this.#report = report;
    this.#failure = undefined;
    this.#first.resolve();
    this.#deps.onPass(result, report);
    return { report, dueInMs: result.dueInMs };
  }

  async #runIncremental(request: PassRequest): Promise<PassResult | undefined> {
    const { store, board, full, incremental } = this.#deps;
    const base = this.#result;
    const state = store.current;
    const found = await incremental.run(request, state, base, neverAborted);
    if (found === undefined || base === undefined) return undefined;
    const { verdicts, affected, ...more } = found;
    const dueInMs = full.dueInMs(state, base.planAfter);
    const all = (await runYielding(OrderedMap.fromChunked(base.verdicts ?? []))).edit();
    for (const [id, verdict] of verdicts) all.set(id, verdict);
    const result: PassResult = { ...base, ...more, state, verdicts: all.finish(), repairs: [], dueInMs };
    full.recordIncrementalPass(base, result);
    // Other components may read the result as soon as it is published.
    this.#result = result;
    board.publishPart(this.#published(result, verdicts), affected);
    await full.announceNew(base, result);
    return result;
  }

  async #runFull(request: PassRequest): Promise<PassResult> {
    const { full, incremental, board } = this.#deps;
    incremental.onFullPassStart();
    const { lastSnapshot } = full;
    const result = await full.run(request, neverAborted).catch(async (error: unknown) => {
      await this.#withdraw(lastSnapshot);
      throw error;
    });
    // Other components may read the result as soon as it is published.
    this.#result = result;
    if (result.verdicts !== undefined) {
      await runYielding(board.publish(this.#published(result, result.verdicts)));
      this.#isReady ||= result.hasVerifiedRules;
    }
    return result;
  }

  /** A pass read the kernel and did not finish: objects that its reading lacks are no longer Ready. */
  async #withdraw(before: Snapshot | undefined): Promise<void> {
    const { store, board, clock, full } = this.#deps;
    const state = store.current;
    const { lastSnapshot } = full;
    if (lastSnapshot === undefined || lastSnapshot === before) return;
    const verifiedAt = new Date(clock.wallMs()).toISOString();
    const verdicts = await full.judge(state, lastSnapshot);
    await runYielding(board.withdraw({ state, verdicts, verifiedAt }));
  }

  #published({ state, isCleared }: PassResult, verdicts: PublishedPass["verdicts"]): PublishedPass {
    return { state, verdicts, isCleared, verifiedAt: new Date(this.#deps.clock.wallMs()).toISOString() };
  }
}

function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  return new GatewayError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}
