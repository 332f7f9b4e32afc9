import fc from "fast-check";
import t from "tap";
import { sortChunked } from "../../../lib/chunked.ts";

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
