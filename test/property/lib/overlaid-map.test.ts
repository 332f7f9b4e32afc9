/** A map with changes on top of another behaves like a Map, and leaves the other one as it is. */
import { strict as assert } from "node:assert";
import fc from "fast-check";
import t from "tap";
import { OrderedMap } from "../../../lib/ordered-map.ts";
import { OverlaidMap } from "../../../lib/overlaid-map.ts";

const key = fc.integer({ min: 0, max: 12 });
const entries = (value: fc.Arbitrary<number | undefined>) =>
  fc.array(fc.tuple(key, value), { maxLength: 12 });

t.test("it behaves like a copy with the changes", (t) => {
  fc.assert(
    fc.property(entries(fc.nat(3)), entries(fc.option(fc.nat(3), { nil: undefined })), (held, changed) => {
      const model = new Map(held) as Map<number, number>;
      for (const base of [new Map(model), OrderedMap.from(model)]) {
        const map = new OverlaidMap(base, new Map(changed));
        const copy = new Map(model);
        for (const [key, value] of new Map(changed)) {
          if (value === undefined) copy.delete(key);
          else copy.set(key, value);
        }
        assert.equal(map.size, copy.size);
        for (let key = 0; key <= 13; key++) {
          assert.equal(map.get(key), copy.get(key));
          assert.equal(map.has(key), copy.has(key));
        }
        const visited: [number, number][] = [];
        map.forEach((value, key) => {
          visited.push([key, value]);
        });
        for (const all of [[...map], [...map.entries()], visited])
          assert.deepEqual(new Map(all), copy, "each entry");
        assert.equal(visited.length, copy.size, "once");
        assert.deepEqual(
          [...map.keys()],
          visited.map(([key]) => key),
        );
        assert.deepEqual(
          [...map.values()],
          visited.map(([, value]) => value),
        );
        assert.deepEqual(new Map(base), model, "below, nothing changed");
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});
