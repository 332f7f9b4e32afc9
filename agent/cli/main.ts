#!/usr/bin/env node
/** `natgwctl`: runs a command against the agent's API, prints its answer, and sets the exit code. */
import type { Command } from "commander";
import { type Answer, type OutputFormat, outputFormats } from "./answer.ts";
import type { Api } from "./api.ts";
import { parseDuration } from "./arguments.ts";
import type { Context } from "./context.ts";
import { CliFailure, exitCodes, UsageFailure } from "./failures.ts";
import { createProgram } from "./program.ts";
import { render } from "./render.ts";
import { type TargetOptions, targetOf } from "./target.ts";
import { Terminal } from "./terminal.ts";
import { version } from "./version.ts";

interface GlobalOptions extends TargetOptions {
  readonly output?: readonly string[];
  readonly requestTimeout: string;
}

const terminal = new Terminal();

async function run(act: (context: Context) => Promise<Answer | undefined>, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const format = formatOf(options.output, command.name() === "bugreport");
  const target = targetOf(options, process.env);
  const timeoutMs = parseDuration(options.requestTimeout, "--request-timeout", 3_600_000);
  const { openApi } = await import("./api.ts");
  const api: Api = await openApi(target, timeoutMs);
  try {
    const context = { api, format, terminal, nowMs: Date.now };
    const answer = await act(context);
    terminal.endProgress();
    if (answer === undefined) return;
    // First: the reader of a pipe may be gone at the first byte.
    process.exitCode = answer.exitCode ?? 0;
    terminal.write(render(answer, format, terminal.layout));
  } finally {
    api.close();
  }
}

/** The last one counts. @param hasFile a value that is no format is the name of a file */
function formatOf(given: readonly string[] = [], hasFile = false): OutputFormat {
  const formats = given.map((one) => outputFormats.find((known) => known === one));
  const wrong = formats.indexOf(undefined);
  if (wrong !== -1 && !hasFile)
    throw new UsageFailure(`-o must be one of ${outputFormats.join(", ")}, not ${given[wrong]}`);
  return formats.findLast((format) => format !== undefined) ?? "table";
}

async function main(): Promise<void> {
  const [first = "", ...words] = process.argv.slice(2);
  const program = createProgram(version, run, [first]);
  overrideExits(program);
  if (first === "__complete") {
    const { complete } = await import("./completion/complete.ts");
    terminal.write(await complete(program, words.slice(1)));
    return;
  }
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** commander would end the process with 1. */
function overrideExits(command: Command): void {
  command.exitOverride().configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, "natgwctl: ")),
  });
  for (const sub of command.commands) overrideExits(sub);
}

/** Returns the exit code. */
function report(error: unknown): number {
  terminal.endProgress();
  if (error instanceof CliFailure) {
    for (const line of [`natgwctl: ${error.message}`, ...error.more]) terminal.note(line);
    return error.exitCode;
  }
  // commander has printed what it found.
  if (error instanceof Error && "code" in error && String(error.code).startsWith("commander."))
    return "exitCode" in error && error.exitCode === 0 ? 0 : exitCodes.usage;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  for (const line of `natgwctl: this is a bug: ${text}`.split("\n")) terminal.note(line);
  return exitCodes.bug;
}

// All is written: Linux writes to pipes, files and terminals at once. Closing what is open would only take time.
void main().then(() => process.exit());
