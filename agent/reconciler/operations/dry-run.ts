/** What a write would do, asked before it is made: `?dryRun=true` and `GET /v1/plan`. Changes nothing. */

import type { Flow, FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { compileContradicts } from "../../../lib/conntrack/permits.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { State } from "../../../lib/state/state.ts";
import type { ConntrackDriver } from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Pass } from "../pass/pass.ts";

export interface DryRun {
  readonly changes: readonly Change[];
  readonly changesTotal: number;
  /** Live flows that the change would end. */
  readonly flows: { readonly total: number; readonly items: readonly Flow[] };
}

export interface DryRunDeps {
  readonly store: StateAccess;
  readonly conntrack: ConntrackDriver;
}

const maxFlowsListed = 100;

/** What a pass over `state` would change in the kernel as it is now, and which flows it would end. */
export async function dryRun(
  { store, conntrack }: DryRunDeps,
  pass: Pass,
  state: State,
  signal: AbortSignal,
): Promise<DryRun> {
  const snapshot = await pass.observe(signal);
  if (pass.isUnadopted(state, snapshot))
    return { changes: [], changesTotal: 0, flows: { total: 0, items: [] } };
  const { changes, program } = pass.plan(state, snapshot);
  const current = pass.plan(store.current, snapshot).program;
  const { network, eipsNamedByRules } = snapshot.facts;
  const retired = new Set([...store.current.ledger.retired, ...eipsNamedByRules]);
  const willContradict = compileContradicts({ program, retired, network });
  const contradictsNow = compileContradicts({ program: current, retired, network });
  // Flows that are on their way out already are not this change's doing.
  const breaks: FlowPredicate = (flow) => willContradict(flow) && !contradictsNow(flow);
  const { flows, total } = await conntrack.find(breaks, maxFlowsListed, signal);
  return { changes, changesTotal: changes.length, flows: { total, items: flows } };
}
