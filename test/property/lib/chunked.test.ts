import fc from "fast-check";
import t from "tap";
import {
  type Chunked,
  filterChunked,
  forEachChunked,
  mapChunked,
  runSync,
  sortChunked,
} from "../../../lib/chunked.ts";

t.test("sorting in parts is a stable sort, and no part is long", async () => {
  fc.assert(
    fc.property(fc.nat(20_000), fc.integer({ min: 1, max: 50 }), (length, keys) => {
      const items = Array.from({ length }, (_, index) => ({ key: (index * 7_919) % keys, index }));
      let compared = 0;
      let most = 0;
      const parts = sortChunked(items, (one, other) => {
        compared++;
        return one.key - other.key;
      });
      for (;;) {
        const { done, value } = parts.next();
        most = Math.max(most, compared);
        compared = 0;
        if (!done) continue;
        const sorted = items.toSorted((one, other) => one.key - other.key);
        return most < 30_000 && value.every((item, index) => item === sorted[index]);
      }
    }),
    { numRuns: 30 },
  );
});

t.test("loops in parts visit the same items in the same order, and no part is long", async () => {
  const isOdd = (item: number) => item % 2 === 1;
  const double = (item: number) => 2 * item;
  fc.assert(
    fc.property(fc.array(fc.nat(9)), fc.integer({ min: 1, max: 20 }), (items, atOnce) => {
      const visited: number[] = [];
      const parts: Chunked<void> = forEachChunked(items, atOnce, (item) => visited.push(item));
      for (let before = 0; !parts.next().done; before = visited.length)
        if (visited.length - before > atOnce) return false;
      const results = [
        visited,
        runSync(mapChunked(items, atOnce, double)),
        runSync(filterChunked(items, atOnce, isOdd)),
      ];
      return (
        JSON.stringify(results) === JSON.stringify([items, items.map(double), items.filter(isOdd)]) &&
        [...forEachChunked(items, atOnce, () => {})].length === Math.floor(items.length / atOnce)
      );
    }),
  );
});
