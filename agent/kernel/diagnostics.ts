/** What a report of a fault needs of the kernel, as its own tools print it. Reads only. */
import { readFile } from "node:fs/promises";
import {
  diagnosticCommands,
  diagnosticFiles,
  diagnosticText,
  type KernelPart,
  kernelParts,
  maxDiagnosticBytes,
  type Reading,
} from "../../lib/diagnostics.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { Mutex } from "../mutex.ts";
import { createRun, type Run } from "./run.ts";

export type DiagnosticPart = KernelPart | "log";
export const diagnosticParts: readonly DiagnosticPart[] = [...kernelParts, "log"];

export interface Diagnostics {
  /** A text with a heading for each command. Its failure is part of the text. */
  read(part: DiagnosticPart, signal: AbortSignal): Promise<string>;
}

/** @param log the last lines of the log */
export function createDiagnostics(
  log: () => string,
  run = createRun({ maxOutputBytes: maxDiagnosticBytes }),
): Diagnostics {
  // One part at a time: the tools read everything.
  const turns = new Mutex();
  return {
    read: async (part, signal) => (part === "log" ? log() : turns.run(() => read(run, part, signal))),
  };
}

async function read(run: Run, part: KernelPart, signal: AbortSignal): Promise<string> {
  const readings: Reading[] = [];
  for (const argv of diagnosticCommands[part]) readings.push(await outputOf(run, argv, signal));
  for (const path of diagnosticFiles[part] ?? []) readings.push(await contentOf(path));
  return diagnosticText(readings);
}

async function outputOf(run: Run, argv: readonly string[], signal: AbortSignal): Promise<Reading> {
  const heading = argv.join(" ");
  try {
    return { heading, text: (await run(argv, { signal })).stdout };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return { heading, failure: error.message };
  }
}

async function contentOf(path: string): Promise<Reading> {
  try {
    return { heading: path, text: await readFile(path, "utf8") };
  } catch (error) {
    return { heading: path, failure: error instanceof Error ? error.message : String(error) };
  }
}
