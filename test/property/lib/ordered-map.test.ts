import { strict as assert } from "node:assert";
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import t from "tap";
import { OrderedMap } from "../../../lib/ordered-map.ts";
import { OrderedSet } from "../../../lib/ordered-set.ts";

/** Around the sizes at which the trees below the maps grow a level. */
const sizes = [0, 1, 63, 64, 65, 4_095, 4_096, 4_097];
const key = fc.integer({ min: -3, max: 70 });
const change = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("set" as const), key, value: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("delete" as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("churn" as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("cut" as const), from: fc.nat(4_200), count: fc.nat(400) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const) }) },
);
const versions = fc.array(fc.record({ base: fc.nat(20), changes: fc.array(change, { maxLength: 8 }) }), {
  maxLength: 12,
});

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

interface Collection {
  set(key: number, value: number): unknown;
  delete(key: number): unknown;
}

function apply(to: Collection, present: readonly number[], made: Change): void {
  if (made.kind === "set") to.set(made.key, made.value);
  if (made.kind === "delete") to.delete(made.key);
  if (made.kind === "cut") for (let key = made.from; key < made.from + made.count; key++) to.delete(key);
  if (made.kind === "clear") for (const key of present) to.delete(key);
  // Uses up so many numbers and places that the map is built again.
  if (made.kind === "churn")
    for (let times = 0; times < 1_500; times++) {
      to.delete(made.key + times * 1_000);
      to.set(made.key + times * 1_000, times);
      if (times > 0) to.delete(made.key + times * 1_000);
      to.delete(made.key);
      to.set(made.key, times);
    }
}

t.test("an ordered map behaves like a Map, and so do all maps derived from it", (t) => {
  fc.assert(
    fc.property(fc.constantFrom(...sizes), versions, (size, made) => {
      const first = Array.from({ length: size }, (_, index): [number, number] => [index, index]);
      const known: {
        readonly map: OrderedMap<number, number>;
        readonly model: ReadonlyMap<number, number>;
      }[] = [{ map: OrderedMap.from(first), model: new Map(first) }];
      for (const { base, changes } of made) {
        const from = known[base % known.length] ?? assert.fail();
        const draft = from.map.edit();
        const model = new Map(from.model);
        for (const each of changes) {
          const present = [...model.keys()];
          apply(draft, present, each);
          apply(model, present, each);
          assert.equal(draft.size, model.size);
          assert.equal(draft.has(1), model.has(1));
        }
        known.push({ map: draft.finish(), model });
      }
      for (const { map, model } of known) {
        assert.equal(map.size, model.size);
        assert.deepEqual([...map], [...model]);
        assert.deepEqual([...map.keys()], [...model.keys()]);
        assert.deepEqual([...map.values()], [...model.values()]);
        for (let key = -3; key <= size + 3; key++) {
          assert.equal(map.has(key), model.has(key));
          assert.equal(map.get(key), model.get(key));
        }
      }
      for (const { map, model } of known) {
        for (const { map: before, model: modelBefore } of [...known.slice(0, 2), ...known.slice(-1)]) {
          if (map.lineage !== before.lineage) continue;
          const follower = new Map(modelBefore);
          map.forEachChange(before, (key, now, was) => {
            assert.equal(was, modelBefore.get(key));
            assert.notEqual(now, was);
            if (now === undefined) follower.delete(key);
            else follower.set(key, now);
          });
          assert.equal(follower.size, model.size);
          for (const [key, value] of model) assert.ok(follower.get(key) === value);
        }
      }
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test("unchanged values are the same object", (t) => {
  const map = OrderedMap.from([
    ["a", 1],
    ["b", 2],
  ]);
  t.equal(OrderedMap.from(map), map);
  t.equal(map.edit().finish(), map);
  const idle = map.edit();
  idle.set("a", 1);
  idle.delete("c");
  t.equal(idle.finish(), map);
  const set = OrderedSet.from(map.keys());
  t.equal(OrderedSet.from(set), set);
  const idleSet = set.edit();
  idleSet.add("a");
  idleSet.delete("c");
  t.equal(idleSet.finish(), set);
  t.end();
});

t.test("a map can hold undefined, and iteration is not affected by maps derived from it", (t) => {
  const map = OrderedMap.from<string, number | undefined>([
    ["a", undefined],
    ["b", 2],
    ["c", 3],
  ]);
  t.ok(map.has("a"));
  t.strictSame([...map.values()], [undefined, 2, 3]);
  const seen: string[] = [];
  let latest = map;
  for (const [name] of map) {
    const draft = latest.edit();
    draft.delete(name);
    draft.set(`${name}${name}`, 0);
    latest = draft.finish();
    seen.push(name);
  }
  t.strictSame(seen, ["a", "b", "c"]);
  t.strictSame([...latest.keys()], ["aa", "bb", "cc"]);
  const visited: unknown[] = [];
  map.forEach((value, name, of) => {
    visited.push([value, name, of === map]);
  });
  t.strictSame(visited, [
    [undefined, "a", true],
    [2, "b", true],
    [3, "c", true],
  ]);
  t.strictSame(map.values().take(1).toArray(), [undefined], "iterators have the methods of all iterators");
  t.end();
});

t.test("memory of long removed keys is released", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  let map = OrderedMap.from<object, number>([]);
  const refs: WeakRef<object>[] = [];
  for (let index = 0; index < 5_000; index++) {
    const key = {};
    refs.push(new WeakRef(key));
    const draft = map.edit();
    draft.set(key, index);
    for (const oldest of map.size > 10 ? map.keys().take(1) : []) draft.delete(oldest);
    map = draft.finish();
  }
  await nextTurn();
  collect();
  const alive = refs.filter((ref) => ref.deref() !== undefined).length;
  t.equal(map.size, 11);
  t.ok(alive < 2_000, `${alive} keys of 5,000 are alive`);
});

t.test("the table of numbers is shared by the maps of many changes, and not copied for each", (t) => {
  let map = OrderedMap.from(Array.from({ length: 40_000 }, (_, index): [number, number] => [index, index]));
  const tables = new Set([map.lineage]);
  for (let key = 40_000; key < 41_000; key++) {
    const draft = map.edit();
    for (const oldest of map.keys().take(1)) draft.delete(oldest);
    draft.set(key, key);
    map = draft.finish();
    tables.add(map.lineage);
  }
  t.equal(tables.size, 1);
  t.end();
});

t.test("an ordered set behaves like a Set", (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(20)),
      fc.array(fc.tuple(fc.boolean(), fc.nat(20))),
      fc.uniqueArray(fc.nat(20)),
      (members, changes, others) => {
        const draft = OrderedSet.from(members).edit();
        const model = new Set(members);
        for (const [isAdded, member] of changes) {
          if (isAdded) draft.add(member);
          else draft.delete(member);
          if (isAdded) model.add(member);
          else model.delete(member);
        }
        const set = draft.finish();
        const other = new Set(others);
        assert.equal(set.size, model.size);
        assert.deepEqual([...set], [...model]);
        assert.deepEqual([...set.values()], [...model.keys()]);
        assert.deepEqual([...set.entries()], [...model.entries()]);
        const visited: number[] = [];
        set.forEach((member) => {
          visited.push(member);
        });
        assert.deepEqual(visited, [...model]);
        assert.ok(others.every((member) => set.has(member) === model.has(member)));
        for (const how of ["union", "intersection", "difference", "symmetricDifference"] as const) {
          assert.deepEqual(set[how](other), model[how](other));
          assert.deepEqual(other[how](set), other[how](model));
        }
        for (const how of ["isSubsetOf", "isSupersetOf", "isDisjointFrom"] as const) {
          assert.equal(set[how](other), model[how](other));
          assert.equal(other[how](set), other[how](model));
        }
      },
    ),
  );
  t.end();
});
