/** Counts the entries of ordered maps that are iterated over: what looks at all of a large set is seen without a clock. */
import type { Test } from "tap";
import { OrderedMap } from "../../lib/ordered-map.ts";

/** Counts until the test ends. @returns the number since the last call */
export function countIteratedEntries(t: Test): () => number {
  let count = 0;
  const { prototype } = OrderedMap;
  for (const name of ["keys", "values", "entries"] as const) {
    const plain = prototype[name] as () => MapIterator<unknown>;
    const counted = function (this: unknown) {
      return plain.call(this).map((entry) => {
        count++;
        return entry;
      });
    };
    Object.assign(prototype, { [name]: counted });
    t.teardown(() => Object.assign(prototype, { [name]: plain }));
  }
  return () => {
    const counted = count;
    count = 0;
    return counted;
  };
}
