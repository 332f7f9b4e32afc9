/** When the gate is closed, and what has to be verified before it opens. */

import t from "tap";
import { Gatekeeper } from "../../../../../agent/reconciler/pass/gatekeeper.ts";
import type { SubsystemName } from "../../../../../lib/model/change.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { Plan } from "../../../../../lib/plan/plan.ts";
import type { KernelFacts, Snapshot } from "../../../../../lib/plan/plan-input.ts";
import { subsystemPlan } from "../../../../../lib/plan/subsystem.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../../lib/state/state.ts";

function snapshotOf(facts: Partial<KernelFacts>, ...unread: readonly SubsystemName[]): Snapshot {
  return {
    facts: {
      network: { links: [], addresses: [], routes: [], sysctls: new Map() },
      eipsNamedByRules: new Set(),
      ruleCount: 0,
      holdsObjects: false,
      isPristine: false,
      isGateClosed: false,
      previousHoldsObjects: false,
      isPreviousPresent: false,
      ...facts,
    },
    observed: new Map(),
    unread: new Map(unread.map((name) => [name, new GatewayError("unreadable", "cut short")])),
  };
}

const fresh = snapshotOf({ isPristine: true });
const change = { action: "add", subsystem: "rule", text: "a rule" } as const;
const steps = { phase: "rules", changes: [change], payload: undefined } as const;

/** A plan that has something left to do in `undone`, and keeps `blocked` out. */
function planOf(
  undone: readonly SubsystemName[],
  blocked: readonly (readonly [string, string])[] = [],
): Plan {
  const parts = (["rule", "gate", "flow"] as const).map(
    (name) => [name, subsystemPlan(undone.includes(name) ? [steps] : [])] as const,
  );
  return {
    parts: new Map(parts),
    compiled: {
      blocked: new Map(blocked.map(([id, reason]) => [id, { isAccepted: true, reason, message: "" }])),
    },
  } as unknown as Plan;
}

function stateWith(name: string, revision: number, before: State = emptyState): State {
  const object = { spec: { name, address: "203.0.113.10/24" }, revision, creation: revision };
  const put = { type: "put", kind: "eip", object } as unknown as StateChange;
  return reduce(before, [put, { type: "revision", revision }]);
}

t.test("the first pass that read the rules decides", async (t) => {
  for (const [name, facts, expected] of [
    ["a fresh namespace", { isPristine: true }, "closed"],
    ["one that another dataplane serves", { isPristine: true, previousHoldsObjects: true }, "open"],
    ["one with rules", {}, "open"],
    ["one whose gate nobody lived to open", { isGateClosed: true }, "closed"],
  ] as const) {
    const gate = new Gatekeeper();
    gate.begin(snapshotOf(facts), emptyState);
    t.equal(gate.on(snapshotOf({})), expected, name);
    t.equal(gate.isClosed, expected === "closed", name);
  }
});

t.test("while rules cannot be read the gate is closed and nothing is decided", async (t) => {
  for (const unread of ["rule", "gate"] as const) {
    const gate = new Gatekeeper();
    gate.begin(snapshotOf({}, unread), emptyState);
    t.equal(gate.on(snapshotOf({}, unread)), "closed");
    gate.begin(snapshotOf({}), emptyState);
    t.equal(gate.on(snapshotOf({})), "open", "the next pass decides");
  }
});

t.test("it opens once all rules verified that were desired at the start", async (t) => {
  const state = stateWith("a", 1);
  const gate = new Gatekeeper();
  gate.begin(fresh, state);
  t.ok(gate.isWhole(state, fresh, planOf([])));
  t.notOk(gate.isWhole(state, fresh, planOf(["rule"])), "not before the rules stand");
  t.notOk(gate.isWhole(state, fresh, planOf(["gate"])), "nor before the guard does");
  t.ok(gate.isWhole(state, fresh, planOf(["flow"])), "flows are ended in the open");
  t.notOk(gate.isWhole(state, snapshotOf({}, "rule"), planOf([])), "what cannot be read is not verified");
  t.notOk(gate.isWhole(state, fresh, planOf([], [["eips/a", "Pending"]])), "an Eip is being asked about");
  t.ok(gate.isWhole(state, fresh, planOf([], [["eips/a", "Quarantined"]])), "a refused object waits alone");
  const later = stateWith("b", 2, state);
  t.ok(gate.isWhole(later, fresh, planOf([], [["eips/b", "Pending"]])), "what came later waits in the open");
  gate.opened();
  t.equal(gate.on(fresh), "open");
  gate.begin(fresh, state);
  t.notOk(gate.isClosed, "once open it stays so");
});
