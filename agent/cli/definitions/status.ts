/** The command that people type most, apart from all others: it defines nothing else. */
import type { Command } from "commander";
import { define, type Run } from "./define.ts";

export function status(program: Command, run: Run): void {
  define(
    program,
    "look",
    "status",
    "What is wrong, then the gateway on one screen. Exit code 1 if degraded.",
    [
      ["natgwctl status", "problems first"],
      ["natgwctl status -o json | jq .degraded", "for scripts"],
    ],
  ).action((_options, command) =>
    run(async (context) => (await import("../commands/status.ts")).status(context), command),
  );
}
