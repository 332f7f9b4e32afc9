/** A plan for a read-only request leaves nothing behind that a pass would find. */
import t from "tap";
import { Planner } from "../../../../../agent/reconciler/pass/planner.ts";
import type { Quarantine } from "../../../../../agent/reconciler/retry/quarantine.ts";
import type { Subsystem } from "../../../../../agent/reconciler/subsystem.ts";
import type { PlanInput, Snapshot } from "../../../../../lib/plan/plan-input.ts";
import { subsystemPlan } from "../../../../../lib/plan/subsystem.ts";
import { emptyState } from "../../../../../lib/state/state.ts";
import { compileContext } from "../../../../support/small-sets.ts";

/** A reading in which the gateway has this address of its own. */
function reading(address: string): Snapshot {
  const own = { interface: "net1", address, prefixLength: 24, isSecondary: false, label: "" };
  const network = { links: [], routes: [], sysctls: new Map(), addresses: [own] };
  const facts = { network, eipsNamedByRules: new Set() };
  return { facts, observed: new Map([["rule", {}]]), unread: new Map() } as unknown as Snapshot;
}

/** A planner of one subsystem that finds nothing to do, and the inputs that it was given. */
function setUp() {
  const inputs: PlanInput[] = [];
  const rules = {
    name: "rule",
    title: "rules",
    serves: [],
    reads: ({ facts }: PlanInput) => [facts.network],
    plan(input: PlanInput) {
      inputs.push(input);
      return subsystemPlan([]);
    },
  };
  const deps = {
    store: { current: emptyState },
    epoch: emptyState.ledger.epoch,
    clock: { instant: () => ({ bootId: "b", bootMs: 0, wallMs: 0 }) },
    config: compileContext,
    gatekeeper: { gatesFor: () => ({}) },
    arpProbe: { probeState: { probing: new Set(), addressConflicts: new Map() } },
    arpConflicts: { conflicts: new Map() },
  };
  const planner = new Planner(
    deps as unknown as ConstructorParameters<typeof Planner>[0],
    [{ planner: rules }] as unknown as readonly Subsystem[],
    { objects: new Map() } as unknown as Quarantine,
  );
  return { planner, inputs };
}

t.test("the gateway's own addresses are those of the last pass", async (t) => {
  const { planner, inputs } = setUp();
  const { own } = await planner.plan(emptyState, reading("203.0.113.2"));
  t.strictSame([...own], ["203.0.113.2"]);
  const other = await planner.preview(emptyState, reading("203.0.113.3"));
  t.strictSame([...other.own], ["203.0.113.3"]);
  await planner.plan(emptyState, reading("203.0.113.2"));
  t.strictSame([...(inputs.at(-1)?.context.knownOwn ?? [])], ["203.0.113.2"]);
});

t.test("a pass on an unchanged reading plans nothing again", async (t) => {
  const { planner, inputs } = setUp();
  const unchanged = reading("203.0.113.2");
  await planner.plan(emptyState, unchanged);
  await planner.plan(emptyState, unchanged);
  t.equal(inputs.length, 1);
  await Promise.all([
    planner.preview(emptyState, reading("203.0.113.3")),
    planner.plan(emptyState, unchanged),
    planner.preview(emptyState, reading("203.0.113.4")),
  ]);
  await planner.plan(emptyState, unchanged);
  t.equal(inputs.length, 3, "the two read-only requests were planned");
});
