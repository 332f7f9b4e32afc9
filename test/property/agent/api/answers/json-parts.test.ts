import fc from "fast-check";
import t from "tap";
import { jsonParts, LazyList } from "../../../../../agent/api/answers/json-parts.ts";

const scalar = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    scalar,
    fc.array(tie("value"), { maxLength: 300 }),
    fc.dictionary(fc.string({ maxLength: 8 }), tie("value"), { maxKeys: 8 }),
    fc.tuple(fc.nat(1_000), scalar).map(([length, item]) => Array.from({ length }, () => item)),
  ),
}));

t.test("the parts are JSON.stringify's text, and none of them is long", async (t) => {
  let longest = 0;
  let most = 0;
  fc.assert(
    fc.property(value, (given) => {
      const parts = [...jsonParts(given)];
      longest = Math.max(longest, ...parts.map((part) => part.length));
      most = Math.max(most, parts.length);
      return parts.join("") === (JSON.stringify(given) ?? "null");
    }),
    { numRuns: 500 },
  );
  t.ok(longest < 32 * 1024, `${longest} characters in one part`);
  t.ok(most > 100, `${most} parts`);
});

t.test("a lazy list encodes like an array, at any position", async () => {
  fc.assert(
    fc.property(fc.array(value, { maxLength: 50 }), fc.nat(3), (given, pauses) => {
      const items = given.map((item) => item ?? null);
      const made = function* () {
        for (const item of items) {
          for (let pause = 0; pause < pauses; pause++) yield undefined;
          yield item;
        }
      };
      const asked = { before: 1, items: new LazyList(made()), after: [new LazyList(made())] };
      return [...jsonParts(asked)].join("") === JSON.stringify({ before: 1, items, after: [items] });
    }),
  );
});
