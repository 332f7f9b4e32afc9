/**
 * A directory that is put first on an agent's PATH. It replaces each kernel tool by a script that records the call and
 * then runs the real one, or first does what a fault says.
 */
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export const tools = [
  "iptables-nft-restore",
  "iptables-nft-save",
  "iptables-nft",
  "iptables-legacy-restore",
  "iptables-legacy-save",
  "iptables-legacy",
  "nft",
  "ip",
  "conntrack",
  "sysctl",
] as const;
export type Tool = (typeof tools)[number];

/** What a tool does instead. Each is a shell line with the real tool as `$real` and its arguments. */
export const faults = {
  /** Refuses and changes nothing. */
  fails: 'echo "$tool: injected failure" >&2; exit 1',
  /** Never ends. The limit is for callers that forget it. */
  hangs: "exec sleep 300",
  /** Does its work, then reports failure. */
  failsAfterwards: '"$real" "$@"; echo "$tool: injected failure" >&2; exit 1',
  /** Prints a warning on stderr and works. */
  warns: 'echo "# Warning: injected, to be taken for no error" >&2; exec "$real" "$@"',
  /** Loses the end of its output, and reports success. */
  truncates: '"$real" "$@" | head -c 200; exit 0',
  /** Prints nothing and reports success. */
  fallsSilent: "exit 0",
  /** Is killed before it does anything. */
  dies: "kill -9 $$",
  /** Fails with an exit code and without a message. */
  failsWithoutWords: "exit 4",
  /** Waits two seconds before it works. */
  dawdles: 'sleep 2; exec "$real" "$@"',
} as const;
export type Fault = keyof typeof faults;

export interface Call {
  readonly tool: string;
  readonly args: string;
}

export class Toolbox {
  /** To be put first on PATH. */
  readonly directory: string;
  readonly #calls: string;

  constructor(directory: string) {
    this.directory = directory;
    this.#calls = join(directory, "calls");
  }

  async install(): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeFile(this.#calls, "");
    for (const tool of tools) {
      const path = join(this.directory, tool);
      await writeFile(path, standInOf(tool, this.directory));
      await chmod(path, 0o755);
    }
  }

  /** Every call of `tool` fails from now on, or only its next `times` calls. */
  async break(tool: Tool, fault: Fault, times?: number): Promise<void> {
    const lines = times === undefined ? [faults[fault]] : [...countdown, faults[fault]];
    if (times !== undefined) await writeFile(`${this.#faultOf(tool)}.left`, String(times));
    await this.script(tool, `${lines.join("\n")}\n`);
  }

  /** Replaces `tool` by a shell script, with the real tool as `$real` and its arguments. */
  script(tool: Tool, text: string): Promise<void> {
    return writeFile(this.#faultOf(tool), text);
  }

  async mend(tool: Tool): Promise<void> {
    await rm(this.#faultOf(tool), { force: true });
  }

  /** The calls so far, oldest first. */
  async calls(): Promise<readonly Call[]> {
    const lines = (await readFile(this.#calls, "utf8")).split("\n").filter(Boolean);
    return lines.map((line) => {
      const [tool = "", ...args] = line.split(" ");
      return { tool, args: args.join(" ") };
    });
  }

  #faultOf(tool: Tool): string {
    return join(this.directory, `${tool}.fault`);
  }
}

/** True if a call can change rules. Reads and `--test` runs cannot. */
export function isRuleWriter({ tool, args }: Call): boolean {
  if (tool.endsWith("-restore")) return !/(^| )(--test|-t)( |$)/.test(args) && !args.includes("--version");
  if (tool === "iptables-nft" || tool === "iptables-legacy") {
    return /(^| )(-[ADIRNXFPEZ]|--(append|delete|insert|replace|new-chain|delete-chain|flush|policy))( |$)/.test(
      args,
    );
  }
  return false;
}

const countdown = [
  'left=$(cat "$here/$tool.fault.left")',
  '[ "$left" -gt 0 ] || exec "$real" "$@"',
  'echo $((left - 1)) >"$here/$tool.fault.left"',
];

/** What it needs is found out once, not in each call: an agent calls some tools often. */
function standInOf(tool: Tool, directory: string): string {
  return `#!/bin/sh
tool=${tool}
here='${directory}'
real='${pathOf(tool)}'
echo "$tool $*" >>"$here/calls"
[ -f "$here/$tool.fault" ] || exec "$real" "$@"
. "$here/$tool.fault"
`;
}

/** As a shell finds it. */
function pathOf(tool: string): string {
  const paths = (process.env.PATH ?? "").split(":").map((directory) => join(directory, tool));
  return paths.find((path) => existsSync(path)) ?? tool;
}
