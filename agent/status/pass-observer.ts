/** Turns passes into log lines and metrics. A pass that changed something logs one line with what and why. */

import type { Change } from "../../lib/model/change.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { atMostOncePer, type Log } from "../log.ts";
import type { PassResult } from "../reconciler/pass/pass-result.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import { keyOf, type ThrottledRepair } from "../reconciler/retry/repair-throttle.ts";
import type { Metrics } from "./metrics.ts";
import type { GatewayHealth } from "./summary.ts";

/** Changes that a log line lists in full. More are only counted. */
const maxLogged = 20;
const throttleLogPeriodMs = 60_000;

export class PassObserver {
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #logThrottled: (repairs: readonly ThrottledRepair[]) => void;
  #wasUnadopted = false;

  constructor(metrics: Metrics, log: Log) {
    this.#metrics = metrics;
    this.#log = log;
    this.#logThrottled = atMostOncePer(throttleLogPeriodMs, (repairs: readonly ThrottledRepair[], passes) => {
      const over = repairs.slice(0, maxLogged).map(({ change, repairs }) => ({ repairs, text: change.text }));
      log.warn({ repairs: repairs.length, over, passes }, "another program keeps undoing repairs");
    });
  }

  onPass(result: PassResult, report: PassReport): void {
    const metrics = this.#metrics;
    metrics.reconcileDuration.observe(report.took);
    metrics.gateClosed.set(result.gate === "closed" ? 1 : 0);
    metrics.bfdGateClosed.set(result.bfd === "closed" ? 1 : 0);
    const written = Object.entries(countBySubsystem(result.changes));
    for (const [subsystem, count] of written) metrics.kernelWrites.inc({ subsystem }, count);
    const repaired = Object.entries(countBySubsystem(result.repairs));
    for (const [subsystem, count] of repaired) metrics.driftRepaired.inc({ subsystem }, count);
    for (const { stage, code } of result.failures) metrics.reconcileErrors.inc({ stage, code });
    metrics.quarantinedObjects.set(result.planAfter.compileContext.quarantined.size);
    metrics.flowsRemoved.inc(report.flowsRemoved);
    if (result.isClean) {
      metrics.appliedGeneration.set(result.state.desired.generation);
      metrics.lastSuccessfulApply.set(Date.parse(report.startedAt) / 1000 + report.took);
    }
    this.#logPass(result, report);
  }

  onFailure(error: unknown, retryInMs: number): void {
    const code = error instanceof GatewayError ? error.code : "internal";
    this.#metrics.reconcileErrors.inc({ stage: "pass", code });
    this.#log.error({ err: error, retryInMs }, "pass failed");
  }

  /** Called when metrics are scraped. Sets the gauges that show the current state. */
  onScrape(status: GatewayHealth, isReady: boolean): void {
    const metrics = this.#metrics;
    metrics.ready.set(isReady ? 1 : 0);
    metrics.desiredGeneration.set(status.generation.desired);
    metrics.degraded.reset();
    for (const { reason } of status.degraded) metrics.degraded.set({ reason }, 1);
    for (const [collection, { ready, notReady }] of Object.entries(status.objects)) {
      const kind = collection.slice(0, -1);
      metrics.objects.set({ kind, state: "ready" }, ready);
      metrics.objects.set({ kind, state: "not_ready" }, notReady);
    }
  }

  #logPass(result: PassResult, report: PassReport): void {
    const { changes, failures, verdicts, repairs, throttled, state } = result;
    const isUnadopted = verdicts === undefined;
    if (isUnadopted && !this.#wasUnadopted) {
      this.#log.warn({ rules: report.observed.rules }, "live rules in the kernel are not adopted");
    }
    this.#wasUnadopted = isUnadopted;
    if (throttled.length > 0) this.#logThrottled(throttled);
    // One line per throttled repair would fill the disk.
    const delayed = new Set(throttled.map(({ change }) => keyOf(change)));
    const isNews = changes.some((change) => !delayed.has(keyOf(change)));
    if (!isNews && report.flowsRemoved === 0 && failures.length === 0) return;
    const fields = {
      reasons: report.reasons,
      revision: state.desired.revision,
      changed: changes.length,
      bySubsystem: countBySubsystem(changes),
      changes: changes.slice(0, maxLogged).map(({ action, text }) => `${action} ${text}`),
      flowsRemoved: report.flowsRemoved,
      isDrift: repairs.length > 0,
      took: Math.round(report.took * 1000) / 1000,
    };
    if (failures.length > 0)
      this.#log.warn({ ...fields, failures: failures.slice(0, maxLogged) }, "pass had failures");
    else this.#log.info(fields, "pass changed the kernel");
  }
}

function countBySubsystem(changes: readonly Change[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { subsystem } of changes) counts[subsystem] = (counts[subsystem] ?? 0) + 1;
  return counts;
}
