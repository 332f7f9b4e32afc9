/** What an adoption writes to the store. */
import t from "tap";
import { adoptChunked } from "../../../../lib/admission/adopt.ts";
import { runSync } from "../../../../lib/chunked.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState } from "../../../../lib/state/state.ts";

const now = { bootId: "boot-1", bootMs: 1, wallMs: 1 };
const set = {
  gateway: { defaultGateway: "203.0.113.1" },
  eips: [{ name: "203.0.113.10", address: "203.0.113.10/24" }],
  fips: [{ name: "203.0.113.10", eip: "203.0.113.10", internalIp: "10.0.1.5" }],
} as never;

t.test("the set is stored without a generation", async (t) => {
  const { changes, touched } = runSync(adoptChunked(emptyState, { set }, { now }));
  const { isSet, desired, lastFullSet } = reduce(emptyState, changes);
  t.ok(isSet);
  t.match(desired, { revision: 1, generation: 0, gateway: { defaultGateway: "203.0.113.1" } });
  t.strictSame([...desired.eips.keys(), ...desired.fips.keys()], ["203.0.113.10", "203.0.113.10"]);
  t.equal(lastFullSet, undefined, "the first full set of a controller may have any generation");
  t.strictSame(touched, ["eips/203.0.113.10", "fips/203.0.113.10"]);
});

t.test("an empty set makes the store set, too", async (t) => {
  const { changes } = runSync(adoptChunked(emptyState, { set: { gateway: {} } }, { now }));
  t.ok(reduce(emptyState, changes).isSet);
});

t.test("a store that is set, and a precondition", async (t) => {
  const { changes } = runSync(adoptChunked(emptyState, { set }, { now }));
  const state = reduce(emptyState, changes);
  t.throws(() => runSync(adoptChunked(state, { set }, { now })), { code: "conflict" });
  t.throws(() => runSync(adoptChunked(emptyState, { set, ifMatch: [3] }, { now })), {
    code: "precondition-failed",
  });
  t.doesNotThrow(() => runSync(adoptChunked(emptyState, { set, ifMatch: [0] }, { now })));
});
