import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { type Chunked, runSync } from "../../../lib/chunked.ts";
import { memoizeBrieflyChunked, stabilize, stabilizeChunked } from "../../../lib/memoize.ts";

t.test("a brief result is kept for the same arguments until the next collection", async (t) => {
  let computed = 0;
  const pairOf = memoizeBrieflyChunked(function* (one: object, other: object): Chunked<object> {
    yield;
    computed++;
    return { one, other };
  });
  const [one, other] = [{}, {}];
  const first = runSync(pairOf(one, other));
  t.equal(runSync(pairOf(one, other)), first);
  t.not(runSync(pairOf(other, one)), first);
  t.equal(computed, 2);
  runSync(pairOf(other, one));
  t.equal(computed, 2);

  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // A weak reference that was read holds until its turn ends.
  await nextTurn();
  collect();
  runSync(pairOf(other, one));
  t.equal(computed, 3, "forgotten");
});

t.test("equal values keep one identity, and each is compared once", async (t) => {
  let compared = 0;
  const isSame = (one: readonly number[], other: readonly number[]) => {
    compared++;
    return one.join() === other.join();
  };
  const chunked = stabilizeChunked(function* (
    one: readonly number[],
    other: readonly number[],
  ): Chunked<boolean> {
    yield;
    return isSame(one, other);
  });
  for (const keep of [stabilize(isSame), (value: readonly number[]) => runSync(chunked(value))]) {
    compared = 0;
    const [first, equal, other] = [[1], [1], [2]];
    t.equal(keep(first), first);
    t.equal(keep(first), first);
    t.equal(compared, 0);
    for (let again = 0; again < 3; again++) t.equal(keep(equal), first);
    t.equal(compared, 1);
    t.equal(keep(other), other);
    t.equal(keep(equal), equal, "what stood for it before is forgotten");
    t.equal(compared, 3);
  }
});
