/** What a report of a fault needs of the kernel, as its own tools print it. Reads only. */
import { readFile } from "node:fs/promises";
import { GatewayError } from "../../lib/model/errors.ts";
import { Mutex } from "../mutex.ts";
import { createRun, type Run } from "./run.ts";

/** The commands of each part. A tool that is not there is named in the text. */
const commands = {
  rules: [
    ["nft", "list", "ruleset"],
    ["iptables-nft-save", "-c"],
    // It creates no tables, as `iptables-legacy -S` would.
    ["iptables-legacy-save", "-c"],
  ],
  links: [["ip", "-s", "-d", "link"]],
  addresses: [["ip", "-d", "address"]],
  routes: [
    ["ip", "rule"],
    ["ip", "-d", "route", "show", "table", "all"],
  ],
  neighbours: [["ip", "-s", "neighbour"]],
  qos: [["tc", "-s", "-d", "qdisc"]],
  sysctls: [["ip", "netconf"]],
  conntrack: [
    ["conntrack", "-S"],
    ["conntrack", "-C"],
  ],
} as const satisfies Readonly<Record<string, readonly (readonly string[])[]>>;

/** Numbers that no tool prints. */
const files: Partial<Readonly<Record<KernelPart, readonly string[]>>> = {
  conntrack: ["max", "count", "buckets"].map((name) => `/proc/sys/net/netfilter/nf_conntrack_${name}`),
};

type KernelPart = keyof typeof commands;
export type DiagnosticPart = KernelPart | "log";
export const diagnosticParts: readonly DiagnosticPart[] = [
  ...(Object.keys(commands) as readonly KernelPart[]),
  "log",
];

/** Of one command. */
const maxOutputBytes = 32 * 1024 * 1024;

export interface Diagnostics {
  /** A text with a heading for each command. Its failure is part of the text. */
  read(part: DiagnosticPart, signal: AbortSignal): Promise<string>;
}

/** @param log the last lines of the log */
export function createDiagnostics(log: () => string, run = createRun({ maxOutputBytes })): Diagnostics {
  // One part at a time: the tools read everything.
  const turns = new Mutex();
  return {
    read: async (part, signal) => (part === "log" ? log() : turns.run(() => read(run, part, signal))),
  };
}

async function read(run: Run, part: KernelPart, signal: AbortSignal): Promise<string> {
  const texts: string[] = [];
  for (const argv of commands[part]) texts.push(`# ${argv.join(" ")}\n${await outputOf(run, argv, signal)}`);
  for (const path of files[part] ?? []) texts.push(`# ${path}\n${await contentOf(path)}`);
  return texts.join("\n");
}

async function outputOf(run: Run, argv: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    return (await run(argv, { signal })).stdout;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return `# failed: ${error.message}\n`;
  }
}

async function contentOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    return `# failed: ${error instanceof Error ? error.message : error}\n`;
  }
}
