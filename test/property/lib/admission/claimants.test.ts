/** The index finds what a search of all objects finds, from whatever version it comes. */
import { strict as assert } from "node:assert";
import fc from "fast-check";
import t from "tap";
import { objectsWith, searchAll } from "../../../../lib/admission/claimants.ts";
import type { ClashContext } from "../../../../lib/kinds/clash.ts";
import type { ObjectName } from "../../../../lib/model/names.ts";
import { objectsOf } from "../../../../lib/state/desired.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../lib/state/state.ts";

const context = { vpcInterface: "eth0", externalInterface: "net1" } as ClashContext;
const eips = ["e0", "e1", "e2", "e3"];

let creation = 0;
const change = fc
  .record({ name: fc.nat(80).map((n) => `f${n}` as ObjectName), eip: fc.option(fc.constantFrom(...eips)) })
  .map(({ name, eip }): StateChange => {
    if (eip === null) return { type: "delete", kind: "fip", name };
    const spec = { name, eip, internalIp: "10.0.1.5" };
    const put: unknown = { type: "put", kind: "fip", object: { spec, revision: 1, creation: ++creation } };
    return put as StateChange;
  });
const versions = fc.array(
  fc.record({ from: fc.nat(30), changes: fc.array(change, { minLength: 1, maxLength: 60 }) }),
  { minLength: 1, maxLength: 12 },
);

t.test("the index finds what a search finds", (t) => {
  fc.assert(
    fc.property(versions, fc.array(fc.nat(30), { maxLength: 20 }), (made, asked) => {
      const states: State[] = [emptyState];
      for (const { from, changes } of made)
        states.push(reduce(states[from % states.length] ?? emptyState, changes));
      for (const at of [...states.keys(), ...asked]) {
        const { desired } = states[at % states.length] ?? emptyState;
        for (const identities of [new Set<string>(), new Set(["e1"]), new Set(["e3", "e0", "none"])])
          assert.deepEqual(
            new Set(objectsWith(desired, "fip", identities, context)),
            new Set(searchAll(objectsOf(desired, "fip"), "fip", identities, context)),
          );
        const found = [...objectsWith(desired, "fip", new Set(eips), context).values()];
        assert.deepEqual(
          found.map((one) => one.creation),
          found.map((one) => one.creation).toSorted((one, other) => one - other),
        );
      }
    }),
  );
  t.end();
});
