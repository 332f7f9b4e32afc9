import t from "tap";
import type { Spec } from "../../../../lib/kinds/registry.ts";
import { isInitialized } from "../../../../lib/kube-ovn/initialized.ts";
import type { Kind } from "../../../../lib/model/names.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../lib/state/state.ts";

function stateWith(...objects: readonly (readonly [Kind, object])[]): State {
  return reduce(emptyState, [
    ...objects.map(([kind, spec], index) => ({
      type: "put" as const,
      kind,
      object: { spec: spec as Spec, revision: 1, creation: index + 1 },
    })),
    { type: "revision", revision: 1 },
  ]);
}

const address = "203.0.113.10/24";
const limit = ["limit", { name: "l", direction: "egress", rateMbit: 1, eip: "e" }] as const;
const unbound = ["eip", { name: "e", address, bound: false }] as const;
const bound = ["eip", { name: "e", address }] as const;
const route = ["route", { name: "r", destination: "10.2.0.0/16", via: "10.0.1.1" }] as const;

t.test("what stands for init", async (t) => {
  t.equal(isInitialized(emptyState, false), false);
  t.equal(isInitialized(emptyState, true), false);
  t.equal(isInitialized(stateWith(), false), true, "init");
  t.equal(isInitialized(stateWith(limit, unbound), false), true, "init, and QoS after it");
  t.equal(isInitialized(stateWith(limit, unbound), true), false, "QoS alone");
  t.equal(isInitialized(stateWith(limit, bound), true), true);
  t.equal(isInitialized(stateWith(limit, route), true), true);
  const full = { ...stateWith(limit), lastFullSet: { generation: 1, digest: "" } };
  t.equal(isInitialized(full, true), true, "somebody else's set");
});
