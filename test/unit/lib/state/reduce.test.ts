import t from "tap";
import type { ObjectName } from "../../../../lib/model/names.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../lib/state/state.ts";

/** Changes in plain form. This function adds the brands. */
const changes = (...list: readonly object[]) => list as unknown as readonly StateChange[];
const put = (kind: string, name: string, creation: number, more = {}) => ({
  type: "put",
  kind,
  object: { spec: { name, ...more }, revision: 1, creation },
});
const instant = { bootId: "b", bootMs: 1, wallMs: 1 };
const entry = { interface: "net1", address: "203.0.113.10", prefixLength: 24 };

const base = reduce(
  emptyState,
  changes(
    put("eip", "b", 1, { leaseSeconds: 5 }),
    put("eip", "a", 2),
    put("fip", "f", 3),
    { type: "lease", name: "b", renewed: instant },
    { type: "tombstone", key: "eip/u1", untilMs: 1 },
    { type: "ledger-add", entry },
    { type: "retire", address: "203.0.113.9" },
    { type: "unrecognized", change: { type: "usage" }, creation: 9 },
  ),
);

/** Every collection of a state, by the name that the table below uses. */
const collections = (state: State): Readonly<Record<string, object>> => ({
  eips: state.desired.eips,
  fips: state.desired.fips,
  snats: state.desired.snats,
  tombstones: state.tombstones,
  leases: state.leases,
  addresses: state.ledger.addresses,
  retired: state.ledger.retired,
  unrecognized: state.unrecognized,
});

t.test("only changed parts become new objects", (t) => {
  const cases: readonly (readonly [change: object, touched: readonly string[]])[] = [
    [put("eip", "a", 2), ["eips"]],
    [put("eip", "b", 1), ["eips", "leases"]],
    [put("snat", "s", 4), ["snats"]],
    [{ type: "delete", kind: "eip", name: "b" }, ["eips", "leases"]],
    [{ type: "delete", kind: "eip", name: "absent" }, []],
    [{ type: "delete", kind: "snat", name: "absent" }, []],
    [{ type: "revision", revision: 5 }, []],
    [{ type: "gateway", gateway: {} }, []],
    [{ type: "full-set", generation: 1, digest: "" }, []],
    [{ type: "tombstone", key: "eip/u1", untilMs: 2 }, ["tombstones"]],
    [{ type: "forget-tombstone", key: "absent" }, []],
    [{ type: "evict-tombstone", key: "eip/u1" }, ["tombstones"]],
    [{ type: "lease", name: "b", renewed: { ...instant } }, ["leases"]],
    [{ type: "ledger-epoch", epoch: "e" }, ["addresses", "retired"]],
    [{ type: "ledger-remove", entry }, ["addresses"]],
    [{ type: "ledger-remove", entry: { ...entry, prefixLength: 25 } }, []],
    [{ type: "retire", address: "203.0.113.9" }, []],
    [{ type: "unretire", address: "203.0.113.9" }, ["retired"]],
    [{ type: "unrecognized", change: { type: "usage" } }, ["unrecognized"]],
    [{ ...put("eip", "a", 2), whole: { spec: { name: "a", bound: true } } }, ["eips", "unrecognized"]],
  ];
  for (const [change, touched] of cases) {
    const before = collections(base);
    const after = collections(reduce(base, changes(change)));
    const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
    t.strictSame(changed, touched, JSON.stringify(change));
  }
  t.end();
});

t.test("the desired set and the ledger stay the same objects if nothing in them changes", (t) => {
  const renewed = reduce(base, changes({ type: "lease", name: "b", renewed: { ...instant, bootMs: 2 } }));
  t.equal(renewed.desired, base.desired);
  t.equal(renewed.ledger, base.ledger);
  const retired = reduce(base, changes({ type: "retire", address: "203.0.113.8" }));
  t.equal(retired.desired, base.desired);
  t.not(retired.ledger, base.ledger);
  const written = reduce(base, changes({ type: "revision", revision: 7 }));
  t.not(written.desired, base.desired);
  t.equal(written.ledger, base.ledger);
  t.end();
});

t.test("the previous state is not modified", (t) => {
  const names = () => [...base.desired.eips.keys()].join();
  t.equal(names(), "b,a");
  reduce(base, changes({ type: "delete", kind: "eip", name: "b" }, put("eip", "c", 7), put("eip", "a", 2)));
  t.equal(names(), "b,a");
  t.end();
});

t.test("maps stay in order of creation, and creation numbers are used once", (t) => {
  const { desired, nextCreation } = reduce(
    base,
    changes(
      put("eip", "b", 1),
      put("eip", "c", 10),
      { type: "delete", kind: "eip", name: "a" },
      put("eip", "a", 11),
    ),
  );
  t.strictSame([...desired.eips.keys()], ["b", "c", "a"]);
  t.equal(nextCreation, 12);
  t.equal(base.nextCreation, 10, "an object that only a newer version knows has its number too");
  t.equal(desired.eips.get("a" as ObjectName)?.creation, 11);
  t.end();
});
