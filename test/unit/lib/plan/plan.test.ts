/** The whole pipeline, and that memoization does not change its result. */

import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { GatewayConfig } from "../../../../lib/model/gateway-config.ts";
import { ipv4, parseIp } from "../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../../lib/model/observed.ts";
import { memoizedPlan } from "../../../../lib/plan/memoized-plan.ts";
import { plan } from "../../../../lib/plan/plan.ts";
import {
  type KernelFacts,
  type PlanContext,
  type Snapshot,
  unknownFacts,
} from "../../../../lib/plan/plan-input.ts";
import { type SubsystemPlanner, subsystemPlan } from "../../../../lib/plan/subsystem.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../lib/state/state.ts";
import { noApi } from "../../../support/api-guard.ts";

const ip = (text: string) => {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(text);
  return address;
};
const config: GatewayConfig = {
  family: ipv4,
  vpcInterface: "eth0" as InterfaceName,
  externalInterface: "net1" as InterfaceName,
  eipBinding: "address",
  fallbackGateway: undefined,
  untranslated: "forward",
  isBfdGated: false,
  apiGuard: noApi,
};
const context: PlanContext = {
  config,
  gate: "open",
  bfd: "open",
  isCleanupAllowed: false,
  knownOwn: new Set(),
  expiredLeases: new Set(),
  probing: new Set(),
  addressConflicts: new Map(),
  heldConflicts: new Map(),
  quarantined: new Map(),
};
const link = { mac: "", isUp: true, hasCarrier: true };
const links = [
  { ...link, index: 1, name: config.vpcInterface },
  { ...link, index: 2, name: config.externalInterface },
];
const bare: ObservedNetwork = { links, addresses: [], routes: [], sysctls: new Map() };

function snapshotOf(facts: Partial<KernelFacts>): Snapshot {
  return {
    facts: {
      network: bare,
      ...unknownFacts,
      ...facts,
    },
    observed: new Map(),
    unread: new Map(),
  };
}

t.test("a stray rule does not make an EIP of the gateway's own address", async (t) => {
  const own = ip("203.0.113.254");
  const held = { interface: config.externalInterface, address: own, prefixLength: 24 };
  const network = { ...bare, addresses: [{ ...held, isSecondary: false, label: "" }] };
  const object = { spec: { name: "own", address: `${own}/24` }, revision: 1, creation: 1 };
  const state = reduce(emptyState, [{ type: "put", kind: "eip", object } as unknown as StateChange]);
  const look = memoizedPlan([]);
  let knownOwn = runSync(look(state, snapshotOf({ network }), context)).own;
  t.ok(knownOwn.has(own));
  const named = snapshotOf({ network, eipsNamedByRules: new Set([own]) });
  for (const time of ["once", "twice"]) {
    const found = runSync(look(state, named, { ...context, knownOwn }));
    knownOwn = found.own;
    t.ok(found.own.has(own), time);
    t.match(found.compiled.blocked.get("eips/own"), { isAccepted: false, reason: "Conflict" });
    t.strictSame([...found.addresses.remove, ...found.addresses.ledgerMissing], []);
  }
});

t.test("no EIP may overlap a subnet that was observed", async (t) => {
  const object = { spec: { name: "e", address: "10.0.1.50/25" }, revision: 1, creation: 1 };
  const state = reduce(emptyState, [{ type: "put", kind: "eip", object } as unknown as StateChange]);
  const look = memoizedPlan([]);
  const reasonOn = (name: InterfaceName) => {
    const own = { interface: name, address: ip("10.0.1.254"), prefixLength: 24 };
    const network = { ...bare, addresses: [{ ...own, isSecondary: false, label: "" }] };
    return runSync(look(state, snapshotOf({ network }), context)).compiled.blocked.get("eips/e")?.reason;
  };
  t.equal(reasonOn(config.vpcInterface), "Conflict");
  t.equal(reasonOn(config.externalInterface), undefined, "on its own interface it is at home");
});

t.test("if rules name the same EIPs, addresses are not planned again", async (t) => {
  const look = memoizedPlan([]);
  const addressesWith = (...names: readonly string[]) =>
    runSync(look(emptyState, snapshotOf({ eipsNamedByRules: new Set(names.map(ip)) }), context)).addresses;
  const first = addressesWith("203.0.113.1", "203.0.113.2");
  t.equal(addressesWith("203.0.113.1", "203.0.113.2"), first);
  t.not(addressesWith("203.0.113.2"), first);
});

/** A subsystem that has a step for every EIP, and counts how often it is planned. */
function countingPlanner(phase: "rules" | "routes") {
  const planner: SubsystemPlanner<unknown, string> & { plans: number } = {
    name: phase === "rules" ? "rule" : "route",
    title: "some rules",
    serves: ["eip"],
    plans: 0,
    plan({ program }) {
      planner.plans++;
      return subsystemPlan(
        program.eips.map(({ id }) => ({
          phase,
          changes: [{ action: "add", subsystem: "rule", object: id, text: `${phase} of ${id}` }],
          payload: id,
        })),
      );
    },
    reads: ({ program }) => [program],
  };
  return planner;
}

t.test("steps come in the order of their phases, whatever the order of the subsystems", async (t) => {
  const eip = { spec: { name: "a", address: "203.0.113.10/24" }, revision: 1, creation: 1 };
  const state = reduce(emptyState, [{ type: "put", kind: "eip", object: eip } as unknown as StateChange]);
  const planners = [countingPlanner("routes"), countingPlanner("rules")];
  const { changes } = plan(state, snapshotOf({}), context, planners);
  t.strictSame(
    changes.map(({ text }) => text),
    ["rules of eips/a", "routes of eips/a"],
  );
});

t.test("a part without steps is planned again only after its input changes", async (t) => {
  const planner = countingPlanner("rules");
  const look = memoizedPlan([planner]);
  const observed = new Map([["rule" as const, {}]]);
  const snapshot = { ...snapshotOf({}), observed };
  for (const _ of [1, 2, 3]) runSync(look(emptyState, snapshot, context));
  t.equal(planner.plans, 1);
  runSync(look(emptyState, { ...snapshot, observed: new Map([["rule", {}]]) }, context));
  t.equal(planner.plans, 2, "another reading");
});

t.test(
  "a subsystem that cannot be read plans nothing, keeps its kinds from Ready, and says why",
  async (t) => {
    const error = new GatewayError("unreadable", "the table is cut short");
    const snapshot = { ...snapshotOf({}), unread: new Map([["rule" as const, error]]) };
    const planners = [countingPlanner("rules"), countingPlanner("routes")];
    for (const found of [
      plan(emptyState, snapshot, context, planners),
      runSync(memoizedPlan(planners)(emptyState, snapshot, context)),
    ]) {
      const part = found.parts.get("rule");
      t.strictSame(part?.steps, []);
      t.ok(part?.isUnfinished);
      t.match(part?.obstacles().kinds.get("eip"), { condition: "Programmed", reason: "KernelUnreadable" });
      t.match(part?.notices, [
        { reason: "KernelUnreadable", message: /^cannot read some rules: .*the table is cut short/ },
      ]);
      t.equal(found.parts.get("route")?.isUnfinished, undefined, "the others go on");
    }
  },
);
