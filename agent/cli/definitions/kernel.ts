/** Commands that compare the kernel with the desired set. */
import type { Command } from "commander";
import { define, type Run } from "./define.ts";

export function kernel(program: Command, run: Run): void {
  define(
    program,
    "kernel",
    "plan",
    "What a pass would change in the kernel now. Exit code 1 if there is anything.",
    [["natgwctl plan", "in the words of the kernel's tools"]],
  ).action((_options, command) =>
    run(async (context) => (await import("../commands/plan.ts")).plan(context), command),
  );
  define(
    program,
    "kernel",
    "repair",
    "Runs a full pass now, and shows what it did. Exit code 1 if a step failed.",
    [["natgwctl repair", "also tries refused objects again, and repairs what another program keeps undoing"]],
  ).action((_options, command) =>
    run(async (context) => (await import("../commands/plan.ts")).repair(context), command),
  );
  define(
    program,
    "kernel",
    "verify",
    "Compares the kernel with the desired set; reads everything anew, without caches. Changes nothing. Exit code 1 if they differ.",
    [["natgwctl verify", "a full audit"]],
  ).action((_options, command) =>
    run(async (context) => (await import("../commands/plan.ts")).verify(context), command),
  );
}
