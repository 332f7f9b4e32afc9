/** The judge: the conditions for Ready. */

import t from "tap";
import { compile } from "../../../../lib/compile/compile.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { InterfaceName, Kind, ObjectId } from "../../../../lib/model/names.ts";
import type { Reason } from "../../../../lib/model/status.ts";
import { translatingKinds } from "../../../../lib/plan/gate/planner.ts";
import { judge } from "../../../../lib/plan/judge.ts";
import { noObstacles, type Obstacle, type Obstacles, obstaclesOf } from "../../../../lib/plan/subsystem.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../lib/state/state.ts";

t.test("the judge", async (t) => {
  const context = {
    family: ipv4,
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
    ownAddresses: new Set<never>(),
    connectedSubnets: undefined,
    expiredLeases: new Set<never>(),
    addressConflicts: new Map(),
    quarantined: new Map(),
    missingInterfaces: new Set<never>(),
  };
  let state: State = emptyState;
  const backend = { ip: "10.0.1.6", port: 80 };
  const specs: [Kind, Record<string, unknown>][] = [
    ["eip", { name: "a", address: "203.0.113.10/24" }],
    ["fip", { name: "f", eip: "a", internalIp: "10.0.1.5" }],
    ["snat", { name: "s", eip: "a", internalCIDR: "10.0.1.7/32" }],
    ["snat", { name: "s2", eip: "a", internalCIDR: "10.0.1.0/24" }],
    ["dnat", { name: "absent", eip: "nobody", protocol: "tcp", externalPort: 80, backends: [] }],
    ["dnat", { name: "vain", eip: "a", protocol: "tcp", externalPort: 80, backends: [backend] }],
    ["route", { name: "r", destination: "10.0.0.0/16", via: "10.0.1.1" }],
  ];
  for (const [kind, spec] of specs) {
    const object = { spec, revision: 1, creation: state.nextCreation };
    state = reduce(state, [{ type: "put", kind, object } as unknown as StateChange]);
  }
  const compiled = compile(state.desired, context);
  type Words = readonly (readonly [ObjectId, string])[];
  const missing = (words: Words) => obstaclesOf("Programmed", "Pending", new Map(words));
  const flows = (words: Words) => obstaclesOf("Ready", "FlowsRemain", new Map(words));
  const ofKinds = (reason: Reason): Obstacles => ({
    objects: new Map(),
    kinds: new Map(translatingKinds.map((kind) => [kind, { condition: "Ready", reason, message: "" }])),
  });
  const readyUnder = (...verification: readonly Obstacles[]) => {
    const verdicts = judge(state.desired, compiled, verification);
    t.equal(verdicts.size, specs.length, "a verdict for every object");
    return [...verdicts].filter(([, { ready }]) => ready.holds).map(([id]) => id);
  };
  const all = ["eips/a", "fips/f", "snats/s", "snats/s2", "routes/r"];
  t.strictSame(readyUnder(), all, "all but what refers to nothing, and what a FIP shadows");
  t.strictSame(
    readyUnder(noObstacles, missing([["fips/f", "no rule"]])),
    all.filter((id) => id !== "fips/f"),
  );
  t.strictSame(readyUnder(missing([["eips/a", "no address"]])), ["routes/r"], "users wait for their Eip");
  t.strictSame(
    readyUnder(ofKinds("ForwardingOff")),
    ["eips/a", "routes/r"],
    "what translates needs forwarding",
  );
  t.strictSame(readyUnder(ofKinds("Pending")), ["eips/a", "routes/r"], "and an open gate");
  t.strictSame(
    readyUnder(flows([["fips/f", "1 live flow"]])),
    all.filter((id) => id !== "fips/f"),
    "a flow of old keeps its FIP from being Ready",
  );
  const quarantined = compile(state.desired, { ...context, quarantined: new Map([["fips/f", "EINVAL"]]) });
  const verdict = judge(state.desired, quarantined, []).get("fips/f");
  t.match(verdict, {
    accepted: { holds: true },
    ready: { holds: false, reason: "Quarantined", message: "EINVAL" },
  });
  t.ok(verdict?.isSettled, "who waits for it is answered");

  const message = "02:00:00:00:00:99 claims 203.0.113.10 too";
  const claim: Obstacle = { condition: "Ready", reason: "AddressConflict", message, isSettled: true };
  const claimed: Obstacles = { objects: new Map([["eips/a" as ObjectId, claim]]), kinds: new Map() };
  t.strictSame(readyUnder(claimed), ["routes/r"], "what somebody else claims is not Ready");
  const contested = judge(state.desired, compiled, [claimed]);
  t.match(contested.get("eips/a" as ObjectId), {
    programmed: { holds: true },
    ready: { reason: "AddressConflict", message: /^02:00:00:00:00:99/ },
    isSettled: true,
  });
  t.match(contested.get("fips/f" as ObjectId), {
    programmed: { holds: true },
    ready: { reason: "EipNotReady" },
    isSettled: true,
  });

  const both = judge(state.desired, compiled, [claimed, missing([["eips/a", "no address"]])]);
  t.match(both.get("eips/a" as ObjectId), {
    programmed: { holds: false, reason: "Pending", message: "no address" },
    ready: { reason: "Pending" },
  });

  const vain = (...verification: readonly Obstacles[]) =>
    judge(state.desired, compiled, verification).get("dnats/vain");
  t.match(vain(), {
    accepted: { holds: true },
    programmed: { holds: true },
    ready: { holds: false, reason: "Shadowed", message: /^fips\/f / },
    isSettled: true,
  });
  t.match(vain(missing([["dnats/vain", "no rule"]])), {
    programmed: { holds: false, reason: "Pending" },
    ready: { reason: "Pending" },
    isSettled: false,
  });

  const eip = { spec: { name: "a", address: "203.0.113.10/24", bound: false }, revision: 2, creation: 1 };
  const unbound = reduce(state, [
    { type: "put", kind: "eip", object: eip } as unknown as StateChange,
  ]).desired;
  const verdicts = judge(unbound, compile(unbound, context), []);
  t.match(verdicts.get("eips/a" as ObjectId), {
    accepted: { holds: true },
    programmed: { holds: false, reason: "Unbound" },
    ready: { holds: false, reason: "Unbound" },
    isSettled: true,
  });
  for (const id of ["fips/f", "snats/s", "snats/s2"] as const)
    t.match(
      verdicts.get(id),
      { programmed: { holds: true }, ready: { holds: false, reason: "EipNotReady" }, isSettled: true },
      `${id} has its rules, and waits for its Eip`,
    );
});
