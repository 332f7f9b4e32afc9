/** The HTTP API, with bad input: see `parsers.test.ts`. */
import t from "tap";
import { fuzz, inputOf, keptFindings, tryInput } from "../support/fuzz/fuzz.ts";
import { openHttpTarget } from "../support/fuzz/http-target.ts";
import { seed } from "../support/random.ts";

const cases = 1_500;
t.comment(`seed ${seed}`);

t.test("every request is answered as documented, or its connection ends", async (t) => {
  const target = await openHttpTarget();
  t.teardown(() => target.close());
  for (const finding of keptFindings(target.name))
    t.equal((await tryInput(target, inputOf(finding))).problem, undefined, finding.problem);
  const { finding, refused } = await fuzz(target, seed, cases);
  t.equal(finding, undefined);
  t.ok(refused > 0.2 * cases && refused < 0.98 * cases, `${refused} of ${cases} requests were refused`);
});
