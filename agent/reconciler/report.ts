/** What a pass did, for people: the answer of `POST /v1/reconcile`, and `lastReconcile` of `GET /v1/status`. */
import type { PassReport } from "../api/ports.ts";
import type { Dataplane } from "../kernel/seams.ts";
import type { PassFindings } from "./findings.ts";
import type { PassRequest } from "./loop.ts";

/** Changes that a report lists; all are counted. */
const mostListed = 1_000;

/** When a pass began, and how many seconds it took. */
export interface PassTimes {
  readonly startedAtMs: number;
  readonly took: number;
}

export function reportOf(
  { reasons }: PassRequest,
  { seen, changes, refusals, sweep }: PassFindings,
  dataplane: Pick<Dataplane, "countRules">,
  { startedAtMs, took }: PassTimes,
): PassReport {
  return {
    startedAt: new Date(startedAtMs).toISOString(),
    took,
    reasons,
    observed: {
      rules: dataplane.countRules(seen.rules),
      addresses: seen.network.addresses.length,
      routes: seen.network.routes.length,
    },
    changed: changes.length,
    changes: changes.slice(0, mostListed),
    failed: refusals,
    flowsRemoved: sweep?.removed ?? 0,
  };
}
