/**
 * Every parser of what comes from outside, with bad input: it reads or refuses, and does neither throw anything else nor
 * take long. `NATGW_SEED` repeats a run; `scripts/fuzz` makes longer ones. Inputs that were once a fault are tried again.
 */
import t from "tap";
import { fuzz, inputOf, keptFindings, tryInput } from "../support/fuzz/fuzz.ts";
import { parserTargets } from "../support/fuzz/targets.ts";
import { seed } from "../support/random.ts";

const cases = 1_000;
t.comment(`seed ${seed}`);

for (const target of parserTargets) {
  t.test(target.name, async (t) => {
    for (const finding of keptFindings(target.name))
      t.equal((await tryInput(target, inputOf(finding))).problem, undefined, finding.problem);
    const tally = await fuzz(target, seed, cases);
    t.equal(tally.finding, undefined);
  });
}
