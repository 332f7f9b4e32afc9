/** Asserts that no script of a theme fails. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Test } from "tap";
import { memoizeLast } from "../../../lib/memoize.ts";
import type { Theme } from "./arbitraries.ts";
import type { ModelDataplane } from "./tables.ts";
import { seed, type ThemeResult, type ThemeRun } from "./themes.ts";

export async function checkTheme(
  t: Test,
  dataplane: ModelDataplane,
  theme: Theme,
  runs: number,
): Promise<void> {
  const { scripts, incremental, failure } = await onThread({ dataplane, theme, runs });
  t.notOk(failure, `${scripts} scripts, seed ${seed}`, { ...failure });
  if (theme.isServing === true && failure === undefined)
    t.ok(incremental >= scripts / 2, `${incremental} of them made incremental passes`);
}

/** On the main thread, tap follows every promise through an async hook. That doubles the time of a script. */
async function onThread(run: ThemeRun): Promise<ThemeResult> {
  const worker = thread();
  worker.postMessage(run);
  worker.ref();
  const [result] = (await once(worker, "message")) as [ThemeResult];
  worker.unref();
  return result;
}

/** The thread of this test file. It starts with the first theme and does not keep the process alive. */
const thread = memoizeLast((): Worker => new Worker(new URL("./theme-worker.ts", import.meta.url)));
