/** When the gates are closed, and what has to be verified before they open. */

import t from "tap";
import { Gatekeeper } from "../../../../../agent/reconciler/pass/gatekeeper.ts";
import type { SubsystemName } from "../../../../../lib/model/change.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { GatewayConfig } from "../../../../../lib/model/gateway-config.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import type { Plan } from "../../../../../lib/plan/plan.ts";
import { type KernelFacts, type Snapshot, unknownFacts } from "../../../../../lib/plan/plan-input.ts";
import { subsystemPlan } from "../../../../../lib/plan/subsystem.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../../lib/state/state.ts";

type Config = Pick<GatewayConfig, "untranslated" | "isBfdGated">;

function snapshotOf(facts: Partial<KernelFacts>, ...unread: readonly SubsystemName[]): Snapshot {
  return {
    facts: {
      ...unknownFacts,
      network: { links: [], addresses: [], routes: [], sysctls: new Map() },
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
  translated: Partial<Program> = {},
): Plan {
  const parts = (["rule", "gate", "flow"] as const).map(
    (name) => [name, subsystemPlan(undone.includes(name) ? [steps] : [])] as const,
  );
  return {
    program: { eips: [], fips: [], dnats: [], pools: [], ...translated },
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

const forward = { untranslated: "forward", isBfdGated: false } as const;
const set: State = reduce(emptyState, [{ type: "revision", revision: 1 }]);
const fullSet: StateChange = { type: "full-set", generation: 1, digest: "" };
const translating = planOf([], [], { fips: [{}] as unknown as Program["fips"] });

let now = 0;
const clock = { bootMs: () => now };

/** One that has seen its first reading. */
function begun(facts: Partial<KernelFacts>, config: Config = forward, stored = emptyState): Gatekeeper {
  const gatekeeper = new Gatekeeper(config, stored, clock);
  gatekeeper.onPassStart(snapshotOf(facts), stored);
  return gatekeeper;
}

t.test("the first pass that read the rules decides", async (t) => {
  for (const [name, facts, expected] of [
    ["a fresh namespace", { isPristine: true }, "closed"],
    ["one that another dataplane serves", { isPristine: true, previousHoldsObjects: true }, "open"],
    ["one with rules", {}, "open"],
    ["one whose gate nobody lived to open", { isGateClosed: true }, "closed"],
  ] as const) {
    const gatekeeper = begun(facts);
    t.same(gatekeeper.gatesFor(snapshotOf({})), { gate: expected, bfd: "open" }, name);
    t.notOk(gatekeeper.hasVerifiedRules, `${name}: nothing is verified before it is read back`);
  }
});

t.test("while rules cannot be read the gates are closed and nothing is decided", async (t) => {
  for (const unread of ["rule", "gate"] as const) {
    const gatekeeper = new Gatekeeper({ ...forward, isBfdGated: true }, emptyState, clock);
    gatekeeper.onPassStart(snapshotOf({}, unread), emptyState);
    t.same(gatekeeper.gatesFor(snapshotOf({}, unread)), { gate: "closed", bfd: "closed" });
    t.notOk(gatekeeper.hasVerifiedRules);
    gatekeeper.onPassStart(snapshotOf({ holdsObjects: true }), emptyState);
    t.same(gatekeeper.gatesFor(snapshotOf({})), { gate: "open", bfd: "open" }, "the next pass decides");
  }
  t.equal(
    new Gatekeeper(forward, emptyState, clock).gatesFor(snapshotOf({}, "gate")).bfd,
    "open",
    "off is off",
  );
});

t.test("verified are all rules that were desired at the start", async (t) => {
  const state = stateWith("a", 1);
  const gatekeeper = begun({ isPristine: true }, forward, state);
  t.notOk(gatekeeper.verify(state, fresh, planOf(["rule"])), "not before the rules stand");
  t.notOk(gatekeeper.verify(state, fresh, planOf(["gate"])), "nor before the guard does");
  t.notOk(
    gatekeeper.verify(state, snapshotOf({}, "rule"), planOf([])),
    "what cannot be read is not verified",
  );
  t.notOk(
    gatekeeper.verify(state, fresh, planOf([], [["eips/a", "Pending"]])),
    "an Eip is being asked about",
  );
  t.notOk(gatekeeper.hasVerifiedRules);
  t.ok(gatekeeper.verify(state, fresh, planOf(["flow"])), "flows are ended in the open");
  t.ok(gatekeeper.hasVerifiedRules);
  t.ok(
    gatekeeper.verify(state, fresh, planOf([], [["eips/a", "Quarantined"]])),
    "a refused object waits alone",
  );
  const later = stateWith("b", 2, state);
  t.ok(
    gatekeeper.verify(later, fresh, planOf([], [["eips/b", "Pending"]])),
    "what came later waits in the open",
  );
});

t.test("the gate opens for a set: a stored one, or a full one", async (t) => {
  const storedFull = reduce(set, [fullSet]);
  const stored = begun({ isPristine: true }, forward, storedFull);
  t.equal(stored.gatesAfterVerifying(storedFull, fresh, planOf([])).gate, "open");
  const gatekeeper = begun({ isPristine: true });
  t.equal(
    gatekeeper.gatesAfterVerifying(emptyState, fresh, planOf([])).gate,
    "closed",
    "nothing was asked for",
  );
  t.equal(
    gatekeeper.gatesAfterVerifying(set, fresh, planOf([])).gate,
    "closed",
    "the rest may be on its way",
  );
  t.notOk(gatekeeper.mayOpen(set));
  const full = reduce(set, [fullSet]);
  t.ok(gatekeeper.mayOpen(full));
  const gates = gatekeeper.gatesAfterVerifying(full, fresh, planOf([]));
  t.same(gates, { gate: "open", bfd: "open" });
  gatekeeper.onOpened(gates);
  gatekeeper.onPassStart(fresh, full);
  t.same(gatekeeper.gatesFor(fresh), gates, "once open it stays so");
  t.notOk(gatekeeper.mayOpen(full));
});

t.test(
  "a stored set that came one by one is waited for: an earlier process may have ended before its end",
  async (t) => {
    for (const facts of [{ isPristine: true }, { isGateClosed: true }]) {
      now = 1_000;
      const gatekeeper = begun(facts, forward, set);
      t.equal(gatekeeper.gatesAfterVerifying(set, fresh, planOf([])).gate, "closed");
      t.equal(gatekeeper.dueInMs(set), 5_000);
      now = 6_000;
      t.equal(gatekeeper.gatesAfterVerifying(set, fresh, planOf([])).gate, "open");
    }
  },
);

t.test("a full set that comes to an empty gateway is waited for as one that was stored", async (t) => {
  const gatekeeper = begun({ isPristine: true });
  t.ok(gatekeeper.verify(emptyState, fresh, planOf([])));
  const full = reduce(stateWith("a", 2), [fullSet]);
  gatekeeper.onPassStart(fresh, full);
  t.notOk(gatekeeper.verify(full, fresh, planOf([], [["eips/a", "Pending"]])));
  const later = stateWith("b", 3, full);
  gatekeeper.onPassStart(fresh, later);
  t.notOk(gatekeeper.verify(later, fresh, planOf([], [["eips/a", "Pending"]])));
  t.ok(gatekeeper.verify(later, fresh, planOf([], [["eips/b", "Pending"]])));
});

t.test(
  "with drop the gate stays closed, whatever it was, except where it would drop everything",
  async (t) => {
    const drop = { ...forward, untranslated: "drop" } as const;
    for (const facts of [{ isPristine: true }, {}, { isGateClosed: true }]) {
      const gatekeeper = begun(facts, drop, set);
      t.equal(gatekeeper.gatesFor(fresh).gate, "closed");
      t.ok(gatekeeper.verify(set, fresh, planOf([])));
      t.equal(gatekeeper.gatesAfterVerifying(set, fresh, translating).gate, "closed");
      t.notOk(gatekeeper.mayOpen(set));
    }
    t.equal(begun({ isGateSelective: false }, drop).gatesFor(fresh).gate, "open");
    const inFilter = begun({ isPristine: true, isGateSelective: false }, drop);
    t.equal(inFilter.gatesFor(fresh).gate, "closed");
    t.equal(
      inFilter.gatesAfterVerifying(emptyState, fresh, planOf([])).gate,
      "open",
      "and there it waits for no set",
    );
  },
);

t.test("BFD is let in once something is translated", async (t) => {
  const gated = { ...forward, isBfdGated: true };
  for (const [facts, expected] of [
    [{ isPristine: true }, "closed"],
    [{}, "closed"],
    [{ holdsObjects: true }, "open"],
    [{ previousHoldsObjects: true }, "open"],
    [{ holdsObjects: true, isBfdGateClosed: true }, "closed"],
  ] as const)
    t.equal(begun(facts, gated).gatesFor(fresh).bfd, expected, JSON.stringify(facts));
  const gatekeeper = begun({ isPristine: true }, gated, set);
  t.equal(gatekeeper.gatesAfterVerifying(set, fresh, planOf([])).bfd, "closed");
  t.ok(gatekeeper.mayOpen(set));
  const gates = gatekeeper.gatesAfterVerifying(set, fresh, translating);
  t.equal(gates.bfd, "open");
  gatekeeper.onOpened(gates);
  t.same(gatekeeper.gatesAfterVerifying(set, fresh, planOf([])), gates, "and stays in");
});

t.test("a set whose objects come one by one is accepted after 5 s without a write", async (t) => {
  const gatekeeper = begun({ isPristine: true });
  const opens = () => gatekeeper.gatesAfterVerifying(set, fresh, planOf([])).gate === "open";
  now += 10_000;
  t.equal(gatekeeper.dueInMs(set), undefined, "nothing was announced");
  t.notOk(opens() || gatekeeper.mayOpen(set));
  gatekeeper.acceptOnceQuiet();
  gatekeeper.onWrite();
  now += 4_000;
  t.equal(gatekeeper.dueInMs(set), 1_000);
  gatekeeper.onWrite();
  t.equal(gatekeeper.dueInMs(set), 5_000, "each write counts");
  const answered = gatekeeper.expectMore();
  now += 20_000;
  t.equal(gatekeeper.dueInMs(set), 5_000, "somebody waits for what he wrote");
  t.notOk(opens() || gatekeeper.mayOpen(set));
  answered();
  t.equal(gatekeeper.dueInMs(set), 5_000, "and may go on then");
  now += 4_999;
  t.notOk(opens() || gatekeeper.mayOpen(set));
  now += 1;
  t.ok(opens() && gatekeeper.mayOpen(set));
  t.equal(gatekeeper.dueInMs(set), 0, "it was completed at the end of a pass: another one looks");

  const waiting = stateWith("b", 2, set);
  gatekeeper.onPassStart(fresh, waiting);
  gatekeeper.onWrite();
  t.equal(gatekeeper.dueInMs(set), undefined, "a pass has seen it");
  t.ok(opens(), "accepted for good, also if its rules are not verified yet");
  t.notOk(gatekeeper.verify(waiting, fresh, planOf([], [["eips/b", "Pending"]])), "what came before counts");
  gatekeeper.onOpened({ gate: "open", bfd: "open" });
  t.equal(gatekeeper.dueInMs(set), undefined);
  t.notOk(gatekeeper.mayOpen(set));

  const kept = begun({ isPristine: true }, { ...forward, untranslated: "drop" });
  kept.acceptOnceQuiet();
  t.equal(kept.dueInMs(set), undefined, "it stays closed for good");
});
