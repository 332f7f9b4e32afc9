/** CPU profiles of the agent during a measurement, summarized in a few lines. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../support/run.ts";

/** The file to which {@link file://./profiled-agent.ts} writes its profile. */
export function profileName(pid: number): string {
  return `agent-${pid}.cpuprofile`;
}

export class ProfiledAgent {
  readonly #pid: number;
  readonly #directory: string;
  readonly #name: string;

  constructor(pid: number, directory: string, name: string) {
    this.#pid = pid;
    this.#directory = directory;
    this.#name = name;
  }

  async begin(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    await rm(this.#file, { force: true });
    process.kill(this.#pid, "SIGWINCH");
    await until("the profiler to start", () => existsSync(this.#file));
  }

  async end(): Promise<void> {
    process.kill(this.#pid, "SIGWINCH");
    await until("the profile", async () => (await stat(this.#file)).size > 0, 60_000);
    const path = join(this.#directory, `${this.#name}.cpuprofile`);
    await rename(this.#file, path);
    const profile = JSON.parse(await readFile(path, "utf8")) as CpuProfile;
    process.stderr.write(`${path}\n${describeProfile(profile)}\n`);
  }

  get #file(): string {
    return join(this.#directory, profileName(this.#pid));
  }
}

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of the top nodes, and the microseconds since the previous sample. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

const mostLines = 25;

/** The functions with the most time: self time, and total time. */
export function describeProfile(profile: CpuProfile): string {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const ownUs = new Map<number, number>();
  profile.samples.forEach((id, index) => {
    ownUs.set(id, (ownUs.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
  const self = new Map<string, number>();
  const total = new Map<string, number>();

  const walk = (id: number, above: ReadonlySet<string>): number => {
    const node = nodes.get(id);
    if (node === undefined) return 0;
    const name = nameOf(node);
    const own = ownUs.get(id) ?? 0;
    const below = new Set(above).add(name);
    const all = (node.children ?? []).reduce((sum, child) => sum + walk(child, below), own);
    self.set(name, (self.get(name) ?? 0) + own);
    // Count a recursive function once.
    if (!above.has(name)) total.set(name, (total.get(name) ?? 0) + all);
    return all;
  };
  const [root] = profile.nodes;
  const wholeUs = root === undefined ? 0 : walk(root.id, new Set());
  return [
    `  ${Math.round(wholeUs / 1000)} ms in total; self time:`,
    ...largest(self),
    "  total time:",
    ...largest(total),
  ].join("\n");
}

function largest(times: ReadonlyMap<string, number>): readonly string[] {
  return [...times]
    .filter(([name]) => name !== "(root)")
    .sort(([, a], [, b]) => b - a)
    .slice(0, mostLines)
    .map(([name, us]) => `  ${(us / 1000).toFixed(0).padStart(8)} ms  ${name}`);
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const file = url.replace(/^file:\/\/.*?\/(agent|lib|node_modules|test)\//, "$1/");
  const name = functionName === "" ? "(anonymous)" : functionName;
  return file === "" ? name : `${name} ${file}:${lineNumber + 1}`;
}
