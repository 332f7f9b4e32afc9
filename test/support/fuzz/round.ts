/** One round of `scripts/fuzz`: `round.ts TARGET SEED CASES` prints a {@link Tally} as JSON. */
import { fuzz } from "./fuzz.ts";
import { openHttpTarget } from "./http-target.ts";
import { parserTargets } from "./targets.ts";

const [name, seed, cases] = process.argv.slice(2);
const target = name === "HTTP" ? await openHttpTarget() : parserTargets.find((one) => one.name === name);
if (target === undefined) throw new Error(`there is no target ${name}`);
const tally = await fuzz(target, Number(seed), Number(cases));
await target.close?.();
process.stdout.write(JSON.stringify(tally));
