/** Measures times: of commands inside a namespace, and of two alternatives in turns. */
import { spawnSync } from "node:child_process";
import { enterNamespace } from "../support/enter-namespace.ts";
import type { Command } from "./bare.ts";

const commandTimeoutMs = 120_000;

/** Runs something synchronous inside a namespace: sockets and processes that it opens belong to that namespace. */
export function within<T>(namespace: string, act: () => T): T {
  const leave = enterNamespace(namespace);
  try {
    return act();
  } finally {
    leave();
  }
}

/**
 * Milliseconds of commands, one after the other, from fork to exit. Their output is discarded, so that they do not wait
 * for a reader: the limit is what the tool alone needs.
 */
export function timeCommands(namespace: string, commands: readonly Command[]): number {
  return within(namespace, () => {
    const start = performance.now();
    for (const command of commands) runNow(command);
    return performance.now() - start;
  });
}

function runNow({ argv: [file = "", ...args], stdin = "" }: Command): void {
  const { status, error, stderr } = spawnSync(file, args, {
    input: stdin,
    stdio: ["pipe", "ignore", "pipe"],
    timeout: commandTimeoutMs,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${file} ${args.join(" ")} exited with ${status}: ${stderr}`);
}

export async function timeOf(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

/** Each is called with the number of the run and returns its sample. */
export interface Sides {
  readonly measured: (run: number) => Promise<number> | number;
  readonly base: (run: number) => Promise<number> | number;
}

export interface Samples {
  readonly measured: readonly number[];
  readonly base: readonly number[];
}

/** Runs both in turns, alternating which goes first, so that other load on the machine affects both equally. */
export async function inTurns(runs: number, { measured, base }: Sides): Promise<Samples> {
  const samples = { measured: [] as number[], base: [] as number[] };
  for (let run = 0; run < runs; run++) {
    const takeMeasured = async () => samples.measured.push(await measured(run));
    const takeBase = async () => samples.base.push(await base(run));
    for (const take of run % 2 === 0 ? [takeBase, takeMeasured] : [takeMeasured, takeBase]) await take();
  }
  return samples;
}
