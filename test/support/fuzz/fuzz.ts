/** Tries a target with random inputs. The same seed makes the same inputs. */
import { readFileSync } from "node:fs";
import { randomFrom } from "../random.ts";
import { type Input, isRefusal, type Target } from "./target.ts";

export interface Finding {
  readonly target: string;
  readonly seed: number;
  /** The input: text as it is, bytes as base64. */
  readonly input: { readonly text: string } | { readonly base64: string };
  readonly problem: string;
}

export interface Tally {
  readonly cases: number;
  /** How many of them the target refused. Neither none nor all, or the inputs are no good. */
  readonly refused: number;
  readonly finding?: Finding;
}

/** CPU time that one input may take, in milliseconds. The inputs are short, so more of it means a loop. */
const maxCpuMs = 2_000;

/** Stops at the first fault, or after `cases`. */
export async function fuzz(target: Target, seed: number, cases: number): Promise<Tally> {
  const random = randomFrom(seed);
  let refused = 0;
  for (let done = 0; done < cases; done++) {
    const input = target.make(random);
    const { isRefused, problem } = await tryInput(target, input);
    if (isRefused) refused += 1;
    if (problem !== undefined)
      return {
        cases: done + 1,
        refused,
        finding: { target: target.name, seed, input: asJson(input), problem },
      };
  }
  return { cases, refused };
}

export async function tryInput(
  target: Target,
  input: Input,
): Promise<{ readonly isRefused: boolean; readonly problem?: string }> {
  const before = process.cpuUsage();
  let isRefused = false;
  try {
    await target.take(input);
  } catch (error) {
    if (!isRefusal(error)) return { isRefused: false, problem: stackOf(error) };
    isRefused = true;
  }
  const cpuMs = process.cpuUsage(before).user / 1_000;
  if (cpuMs > maxCpuMs) return { isRefused, problem: `took ${Math.round(cpuMs)} ms of CPU time` };
  return { isRefused };
}

/** Inputs that were once a fault of the target. */
export function keptFindings(target: string): readonly Finding[] {
  const file = new URL("../../fixtures/fuzz.json", import.meta.url);
  const all: readonly Finding[] = JSON.parse(readFileSync(file, "utf8"));
  return all.filter((finding) => finding.target === target);
}

export function inputOf({ input }: Pick<Finding, "input">): Input {
  return "text" in input ? input.text : Buffer.from(input.base64, "base64");
}

function asJson(input: Input): Finding["input"] {
  return typeof input === "string" ? { text: input } : { base64: Buffer.from(input).toString("base64") };
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
