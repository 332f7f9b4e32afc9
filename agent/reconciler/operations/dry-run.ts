/** What a write would do, without doing it: `?dryRun=true` and `GET /v1/plan`. Changes nothing. */

import type { Flow, FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { compileContradictsChunked } from "../../../lib/conntrack/permits.ts";
import type { Change } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { State } from "../../../lib/state/state.ts";
import type { ConntrackDriver } from "../../kernel/drivers.ts";
import { Mutex } from "../../mutex.ts";
import { runYielding } from "../../run-yielding.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Pass } from "../pass/pass.ts";

export interface DryRun {
  readonly changes: readonly Change[];
  readonly changesTotal: number;
  /** Live flows that the change would end; of an audit all that no object permits. */
  readonly flows: { readonly total: number; readonly items: readonly Flow[] };
}

export interface DryRunDeps {
  readonly store: StateAccess;
  readonly conntrack: ConntrackDriver;
}

const maxFlowsListed = 100;

/** What a dry run needs from a pass: observing and planning. */
export type AskedPass = Pick<Pass, "observe" | "isUnadopted" | "preview">;
export type AuditingPass = AskedPass & Pick<Pass, "observeAnew">;

/** Runs dry runs one at a time: each holds its own plan in memory. */
export class DryRuns {
  readonly #deps: DryRunDeps;
  readonly #mutex = new Mutex();

  constructor(deps: DryRunDeps) {
    this.#deps = deps;
  }

  /** @throws `overloaded` if the signal aborted before its turn */
  run(pass: AskedPass, state: State, signal: AbortSignal): Promise<DryRun> {
    return this.#inTurn(signal, () => dryRun(this.#deps, pass, state, signal));
  }

  /** What differs from the current state, by a reading that trusts no earlier one. Also throws `overloaded`. */
  audit(pass: AuditingPass, signal: AbortSignal): Promise<DryRun> {
    return this.#inTurn(signal, () => audit(this.#deps, pass, signal));
  }

  #inTurn(signal: AbortSignal, run: () => Promise<DryRun>): Promise<DryRun> {
    return this.#mutex.run(async () => {
      if (signal.aborted)
        throw new GatewayError("overloaded", "Too many plans are requested at the same time");
      return run();
    });
  }
}

/** What a pass over `state` would change in the kernel now, and which flows it would end. */
async function dryRun(
  { store, conntrack }: DryRunDeps,
  pass: AskedPass,
  state: State,
  signal: AbortSignal,
): Promise<DryRun> {
  const snapshot = await pass.observe(signal);
  if (pass.isUnadopted(state, snapshot))
    return { changes: [], changesTotal: 0, flows: { total: 0, items: [] } };
  const { changes, program } = await pass.preview(state, snapshot);
  const now = store.current;
  const current = now === state ? program : (await pass.preview(now, snapshot)).program;
  const { network, eipsNamedByRules } = snapshot.facts;
  const retired = new Set([...now.ledger.retired, ...eipsNamedByRules]);
  const willContradict = await runYielding(compileContradictsChunked({ program, retired, network }));
  const contradictsNow = await runYielding(compileContradictsChunked({ program: current, retired, network }));
  // Flows that are about to be ended anyway are not caused by this change.
  const breaks: FlowPredicate = (flow) => willContradict(flow) && !contradictsNow(flow);
  const { flows, total } = await conntrack.find(breaks, maxFlowsListed, signal);
  return { changes, changesTotal: changes.length, flows: { total, items: flows } };
}

async function audit(
  { store, conntrack }: DryRunDeps,
  pass: AuditingPass,
  signal: AbortSignal,
): Promise<DryRun> {
  const snapshot = await pass.observeAnew(signal);
  const state = store.current;
  if (pass.isUnadopted(state, snapshot))
    return { changes: [], changesTotal: 0, flows: { total: 0, items: [] } };
  const { changes, program } = await pass.preview(state, snapshot);
  const { network, eipsNamedByRules } = snapshot.facts;
  const retired = new Set([...state.ledger.retired, ...eipsNamedByRules]);
  const contradicts = await runYielding(compileContradictsChunked({ program, retired, network }));
  const { flows, total } = await conntrack.find(contradicts, maxFlowsListed, signal);
  return { changes, changesTotal: changes.length, flows: { total, items: flows } };
}
