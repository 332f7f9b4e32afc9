import t from "tap";
import { WrittenObjects } from "../../../../../agent/reconciler/incremental/written-objects.ts";
import type { ObjectName } from "../../../../../lib/model/names.ts";
import type { StateChange } from "../../../../../lib/state/state.ts";

const remove = (name: string): StateChange => ({ type: "delete", kind: "fip", name: name as ObjectName });
const put = (name: string) =>
  ({
    type: "put",
    kind: "eip",
    object: { spec: { name }, revision: 1, creation: 1 },
  }) as unknown as StateChange;

t.test("before the first pass the set of written objects is unknown", async (t) => {
  const written = new WrittenObjects(3);
  written.note([remove("a")]);
  t.equal(written.drain(), undefined);
  t.strictSame(written.drain(), new Set(), "and nothing since");
});

t.test("names what was written since the last pass began", async (t) => {
  const written = new WrittenObjects(3);
  written.drain();
  written.note([remove("a"), put("b"), { type: "revision", revision: 2 }]);
  t.strictSame(written.drain(), new Set(["fips/a", "eips/b"]));
});

t.test("above its maximum, or after a gateway change, the set is unknown", async (t) => {
  const many = ["a", "b", "c", "d"].map(remove);
  for (const changes of [many, [{ type: "gateway", gateway: {} } as StateChange, remove("a")]]) {
    const written = new WrittenObjects(3);
    written.drain();
    written.note(changes);
    written.note([remove("e")]);
    t.equal(written.drain(), undefined);
  }
});

t.test("a pass that gives way returns the written objects", async (t) => {
  const written = new WrittenObjects(3);
  written.drain();
  written.note([remove("a")]);
  const taken = written.drain();
  written.note([remove("b")]);
  written.restore(taken);
  t.strictSame(written.drain(), new Set(["fips/b", "fips/a"]));
  written.restore(undefined);
  t.equal(written.drain(), undefined);
});
