/** What a pass did, for people: the response of `POST /v1/reconcile`, and `lastReconcile` of `GET /v1/status`. */

import type { Change } from "../../../lib/model/change.ts";
import type { PassRequest } from "../pass-request.ts";
import type { PassResult } from "./pass-result.ts";

export interface PassReport {
  readonly startedAt: string;
  /** In seconds. */
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
    /** The refused step as its tool's command. Absent if it was not a single step. */
    readonly text?: string;
  }[];
  readonly flowsRemoved: number;
}

/** Maximum number of changes listed in a report. All are counted. */
const maxListed = 1_000;

/** When a pass began, and how many seconds it took. */
export interface PassTimes {
  readonly startedAtMs: number;
  readonly took: number;
}

export function reportOf(
  { reasons }: PassRequest,
  { snapshot: { facts }, changes, failures, sweep }: PassResult,
  { startedAtMs, took }: PassTimes,
): PassReport {
  return {
    startedAt: new Date(startedAtMs).toISOString(),
    took,
    reasons,
    observed: {
      rules: facts.ruleCount,
      addresses: facts.network.addresses.length,
      routes: facts.network.routes.length,
    },
    changed: changes.length,
    changes: changes.slice(0, maxListed),
    failed: failures.slice(0, maxListed).map(({ isRejected: _, ...failure }) => failure),
    flowsRemoved: sweep?.removed ?? 0,
  };
}
