import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { type Chunked, runSync } from "../../../lib/chunked.ts";
import { memoizeBrieflyChunked } from "../../../lib/memoize.ts";

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
