/**
 * Runs the test files below a folder one after the other in this process, and prints TAP: `run-group.ts FOLDER`. Loading
 * tap and the code takes longer than most unit tests, so the files share it.
 */
import { globSync } from "node:fs";
import { resolve } from "node:path";
import t from "tap";

const [folder = "."] = process.argv.slice(2);
// Only whole processes have a time limit.
t.setTimeout(0);
for (const file of globSync(`${folder}/**/*.test.ts`).toSorted()) {
  // Its line comes before those of its tests, which wait until it is loaded.
  await t.test(file, () => import(resolve(file)));
}
