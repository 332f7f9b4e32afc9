/** What a gateway needs of its host beside the network: a clock, disk space, tools. */
import { statfs } from "node:fs/promises";
import type { DiskSpace, ToolVersion } from "../../lib/doctor/evidence.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { RulesDriver } from "./drivers.ts";
import { libcFunction } from "./libc.ts";
import type { Run } from "./run.ts";

/** `undefined` if the directory cannot be looked at. */
export async function readDiskSpace(directory: string): Promise<DiskSpace | undefined> {
  const found = await statfs(directory).catch(() => undefined);
  if (found === undefined) return undefined;
  const { bavail, blocks, bsize, ffree } = found;
  return { directory, freeBytes: bavail * bsize, totalBytes: blocks * bsize, freeFiles: ffree };
}

const adjtimex = libcFunction<[state: Uint8Array]>("int adjtimex(void *)");
/** More than `struct timex` has. `modes` 0: only reads. */
const timexBytes = 512;
/** The result of adjtimex(2) while the clock is not synchronized. */
const TIME_ERROR = 5;

/** Whether something keeps the kernel's clock synchronized. `undefined`: the kernel does not say. */
export function isClockSynchronized(): boolean | undefined {
  const state = adjtimex(new Uint8Array(timexBytes));
  return state < 0 ? undefined : state !== TIME_ERROR;
}

/** Tools that the agent runs, by the dataplane in use, each with the option that prints its version. */
function toolsOf(
  backend: RulesDriver["backend"],
): readonly (readonly [argv: readonly string[], group: string])[] {
  const iptables = ["", "-save", "-restore"].map(
    (end) => [[`${backend}${end}`, "--version"], "iptables"] as const,
  );
  return [...(backend === "nftables" ? [] : iptables), [["nft", "--version"], "nft"], [["ip", "-V"], "ip"]];
}

export async function readToolVersions(
  backend: RulesDriver["backend"],
  run: Run,
  signal: AbortSignal,
): Promise<readonly ToolVersion[]> {
  return Promise.all(
    toolsOf(backend).map(async ([argv, group]) => {
      const [tool = ""] = argv;
      // Legacy tools work where there is no nf_tables.
      const isNeeded = tool !== "nft" || backend !== "iptables-legacy";
      return { tool, group, isNeeded, version: await versionOf(argv, run, signal) };
    }),
  );
}

async function versionOf(
  argv: readonly string[],
  run: Run,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await run(argv, { signal });
    return /\d+(?:\.\d+)+/.exec(stdout + stderr)?.[0] ?? "unknown";
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}
