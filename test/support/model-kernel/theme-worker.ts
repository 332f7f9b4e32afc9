/** A thread that plays the scripts of themes: takes a {@link ThemeRun} after the other, posts a {@link ThemeResult} for each. */
import { parentPort } from "node:worker_threads";
import { checkScripts, type ThemeRun } from "./themes.ts";

parentPort?.on("message", async (run: ThemeRun) => parentPort?.postMessage(await checkScripts(run)));
