import t from "tap";
import { bisect } from "../../../../../agent/reconciler/subsystems/bisect.ts";
import type { ObjectId } from "../../../../../lib/model/names.ts";

t.test("bisecting finds exactly the rejected objects, and all others are applied", async (t) => {
  const ids = Array.from({ length: 500 }, (_, n): ObjectId => `fips/f${n}`);
  for (const bad of [["fips/f0"], ["fips/f499"], ["fips/f17", "fips/f18", "fips/f400"]] as ObjectId[][]) {
    let done: readonly ObjectId[] = [];
    let attempts = 0;
    const rejected = await bisect(ids, "refused", async (without) => {
      attempts++;
      const tried = ids.filter((id) => !without.has(id));
      const refused = tried.find((id) => bad.includes(id));
      if (refused === undefined) done = tried;
      return refused && `no ${refused}`;
    });
    t.strictSame([...rejected.keys()], bad);
    t.equal(rejected.get(bad[0] ?? "fips/x"), `no ${bad[0]}`, "with the kernel's words on it");
    t.equal(done.length, ids.length - bad.length);
    t.ok(attempts <= 2 + bad.length * 20, `${attempts} transactions`);
  }
  await t.rejects(
    bisect(ids, "no such table", async () => "no such table"),
    { code: "rules-refused", message: "no such table" },
    "no object is rejected where the kernel refuses without any",
  );
  const all = await bisect(ids, "refused", async (without) => (without.size === 500 ? undefined : "no"));
  t.equal(all.size, 500, "a search has a bound, and what it did not try waits");
});
