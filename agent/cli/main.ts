#!/usr/bin/env node
/** `natgwctl`: runs a command against the agent's API, prints its answer, and sets the exit code. */
import type { Command } from "commander";
import { version } from "../version.ts";
import { type Answer, type OutputFormat, outputFormats } from "./answer.ts";
import type { Api } from "./api.ts";
import { parseDuration } from "./arguments.ts";
import type { Context } from "./context.ts";
import { CliFailure, exitCodes, UsageFailure } from "./failures.ts";
import { createProgram } from "./program.ts";
import { render } from "./render.ts";
import { type TargetOptions, targetOf } from "./target.ts";
import { Terminal } from "./terminal.ts";

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
  const isGiven = command.getOptionValueSourceWithGlobals("requestTimeout") !== "default";
  const { isAgent, notTheAgent, openApi } = await import("./api.ts");
  const api: Api = await openApi(target, isGiven ? timeoutMs : undefined);
  try {
    const context = { api, format, terminal, nowMs: Date.now };
    const answer = await act(context).catch(async (error: unknown) => {
      // What another program answers may look like anything.
      const isOurs = error instanceof CliFailure || (await isAgent(api));
      throw isOurs ? error : notTheAgent("what it says is not understood");
    });
    terminal.endProgress();
    if (answer === undefined) return;
    // First: the reader of a pipe may be gone at the first byte.
    process.exitCode = answer.failure?.exitCode ?? answer.exitCode ?? 0;
    terminal.write(render(answer, format, terminal.layout));
    if (answer.failure !== undefined) report(answer.failure);
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
    report(error);
  }
}

/** commander would end the process with 1, and write past the terminal. */
function overrideExits(command: Command): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.write(text),
    writeErr(text) {
      process.exitCode = exitCodes.usage;
      terminal.show(text);
    },
    outputError: (text, write) => write(text.replace(/^error: /, "natgwctl: ")),
  });
  for (const sub of command.commands) overrideExits(sub);
}

/** Sets the exit code before it prints anything: the reader of a pipe may be gone. */
function report(error: unknown): void {
  process.exitCode = exitCodeOf(error);
  terminal.endProgress();
  for (const line of textOf(error)) terminal.note(line);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CliFailure) return error.exitCode;
  if (!isOfCommander(error)) return exitCodes.bug;
  return "exitCode" in error && error.exitCode === 0 ? 0 : exitCodes.usage;
}

function textOf(error: unknown): readonly string[] {
  if (error instanceof CliFailure) return [`natgwctl: ${error.message}`, ...error.more];
  // It has been printed.
  if (isOfCommander(error)) return [];
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `natgwctl: this is a bug: ${text}`.split("\n");
}

function isOfCommander(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("commander.");
}

// All is written: Linux writes to pipes, files and terminals at once. Closing what is open would only take time.
void main().then(() => process.exit());
