/** All commands with their arguments, options, help and examples. What they do is loaded only when they run. */
import { Command } from "commander";
import { change } from "./definitions/change.ts";
import { headings, type Run } from "./definitions/define.ts";
import { kernel } from "./definitions/kernel.ts";
import { look } from "./definitions/look.ts";
import { status } from "./definitions/status.ts";
import { support } from "./definitions/support.ts";
import { traffic } from "./definitions/traffic.ts";

/** @param words the command line, if it is enough to define what it names: all commands cost as much as running one */
export function createProgram(version: string, run: Run, words: readonly string[] = []): Command {
  const program = new Command("natgwctl")
    .description("Shows and changes what the NAT gateway agent keeps in the kernel.")
    .version(version, "-V, --version", "print the version of natgwctl")
    .addHelpCommand(help())
    .configureHelp({ showGlobalOptions: true });
  program
    .option(
      "-o, --output <format>",
      "json, yaml, wide or name; a table if absent",
      (format: string, before: readonly string[] = []) => [...before, format],
    )
    .option("--socket <path>", "the agent's socket (NATGW_SOCKET, default /run/natgw/agent.sock)")
    .option("--server <url>", "an HTTPS listener of the agent instead, such as https://10.0.0.5:9477")
    .option("--token-file <file>", "the bearer token for --server")
    .option("--ca <file>", "the authority of the agent's certificate, as PEM")
    .option("--cert <file>", "a client certificate, as PEM")
    .option("--key <file>", "its key, as PEM")
    .option("--request-timeout <duration>", "how long to wait for an answer", "1m");
  const needed = groups.find(({ names }) => names.includes(words[0] ?? ""));
  for (const { add } of needed === undefined ? groups : [needed]) add(program, run);
  return program;
}

function help(): Command {
  return new Command("help")
    .argument("[command]")
    .description("This text, or what a command does")
    .helpGroup(headings.support)
    .helpOption(false);
}

interface Group {
  readonly add: (program: Command, run: Run) => void;
  readonly names: readonly string[];
}

/** A test holds the names to what each group defines. */
export const groups: readonly Group[] = [
  { add: status, names: ["status"] },
  { add: look, names: ["get", "describe", "inventory", "events"] },
  { add: kernel, names: ["plan", "repair", "verify"] },
  { add: traffic, names: ["connections", "ports", "top", "explain", "who"] },
  { add: change, names: ["apply", "diff", "wait", "release", "delete"] },
  {
    add: support,
    names: ["export", "import", "doctor", "audit", "bugreport", "completion", "version"],
  },
];
