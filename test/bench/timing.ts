/** Takes times: of commands inside a namespace, and of two things in turns. */
import { spawnSync } from "node:child_process";
import { enterNamespace } from "../support/enter-namespace.ts";
import type { Command } from "./bare.ts";

const commandTimeoutMs = 120_000;

/** Does something synchronous inside a namespace: what it opens and starts belongs there. */
export function within<T>(namespace: string, act: () => T): T {
  const leave = enterNamespace(namespace);
  try {
    return act();
  } finally {
    leave();
  }
}

/**
 * Milliseconds that commands take, one after the other, from fork to exit. Their output goes nowhere, so that
 * reading it costs them nothing: the limit is what the tool alone needs.
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

/** Each called with the number of the run; gives its sample. */
export interface Sides {
  readonly measured: (run: number) => Promise<number> | number;
  readonly base: (run: number) => Promise<number> | number;
}

export interface Samples {
  readonly measured: readonly number[];
  readonly base: readonly number[];
}

/** Both in turns, and who goes first in turns too: what else the machine does then weighs on both alike. */
export async function inTurns(runs: number, { measured, base }: Sides): Promise<Samples> {
  const samples = { measured: [] as number[], base: [] as number[] };
  for (let run = 0; run < runs; run++) {
    const takeMeasured = async () => samples.measured.push(await measured(run));
    const takeBase = async () => samples.base.push(await base(run));
    for (const take of run % 2 === 0 ? [takeBase, takeMeasured] : [takeMeasured, takeBase]) await take();
  }
  return samples;
}
