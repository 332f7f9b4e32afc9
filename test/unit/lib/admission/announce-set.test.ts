/** Kube-OVN's `init`. */
import t from "tap";
import { announceSet } from "../../../../lib/admission/announce-set.ts";
import type { WriteContext } from "../../../../lib/admission/writes.ts";
import type { Gateway } from "../../../../lib/model/schema.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../lib/state/state.ts";

const context = { now: { bootId: "b", bootMs: 0, wallMs: 0 }, isUnadopted: false } as unknown as WriteContext;
const interfaces = { vpcInterface: "vpc0", externalInterface: "ext0" } as Gateway;
const announced = (state: State, gateway: Gateway = {}) =>
  reduce(state, announceSet(state, gateway, context).changes);

t.test("the store is set, whatever is in it stays", async (t) => {
  const first = announced(emptyState);
  t.match(first, { isSet: true, lastFullSet: undefined, desired: { revision: 1, generation: 0 } });
  t.same(announceSet(first, {}, context).changes, [], "again");
  const second = announced(first, interfaces);
  t.match(second.desired, { revision: 2, gateway: interfaces });
  t.same(announceSet(second, interfaces, context).changes, []);
  t.same(announceSet(second, {}, context).changes, [], "without interfaces the stored ones stay");
  const gateway = { defaultGateway: "203.0.113.1" } as Gateway;
  const routed = announced(
    reduce(second, [
      { type: "gateway", gateway },
      { type: "revision", revision: 3 },
    ]),
    interfaces,
  );
  t.strictSame(routed.desired.gateway, { ...gateway, ...interfaces });
});

t.test("not before the live state was adopted", async (t) => {
  t.throws(() => announceSet(emptyState, {}, { ...context, isUnadopted: true }), { code: "not-adopted" });
});
