/** CPU and memory of a process and its children, from /proc. */
import { readdir, readFile } from "node:fs/promises";

export interface Usage {
  /** Seconds of CPU since the start. */
  readonly cpuSeconds: number;
  /** Seconds of CPU of children that have ended. */
  readonly endedSeconds: number;
  readonly rssMiB: number;
}

/** Clock ticks per second: 100 on every current Linux. */
const ticksPerSecond = 100;
const pageMiB = 4096 / (1 << 20);

export async function usageOf(pid: number): Promise<Usage> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // After the name, which may contain anything, all fields are numbers. The first of them is the third field.
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const field = (number: number) => fields[number - 3] ?? Number.NaN;
  return {
    cpuSeconds: (field(14) + field(15)) / ticksPerSecond,
    endedSeconds: (field(16) + field(17)) / ticksPerSecond,
    rssMiB: field(24) * pageMiB,
  };
}

export async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  const children = text.split(" ").filter(Boolean).map(Number);
  const grandchildren = await Promise.all(children.map(childrenOf));
  return [...children, ...grandchildren.flat()];
}

/** Usage of the process and of all its living descendants. */
export async function familyUsage(pid: number): Promise<{ readonly self: Usage; readonly children: Usage }> {
  const below = await Promise.all((await childrenOf(pid)).map(usageOf));
  return {
    self: await usageOf(pid),
    children: {
      cpuSeconds: sum(below.map(({ cpuSeconds }) => cpuSeconds)),
      endedSeconds: sum(below.map(({ endedSeconds }) => endedSeconds)),
      rssMiB: sum(below.map(({ rssMiB }) => rssMiB)),
    },
  };
}

export async function openFiles(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
