/** How full the conntrack table is. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { ConntrackStats } from "../drivers.ts";

const directory = "/proc/sys/net/netfilter";

/** Reads the counters of this process's network namespace. Throws `unreadable` if they exist but are invalid. */
export async function readConntrackStats(signal: AbortSignal, from = directory): Promise<ConntrackStats> {
  const [count, max] = await Promise.all([
    readEntryCount(signal, from),
    readNumber(join(from, "nf_conntrack_max"), signal),
  ]);
  return { count, max };
}

/** Only the count. */
export function readEntryCount(signal: AbortSignal, from = directory): Promise<ConntrackStats["count"]> {
  return readNumber(join(from, "nf_conntrack_count"), signal);
}

/** Whether entries count their packets and bytes (`nf_conntrack_acct`). */
export async function readConntrackAccounting(
  signal: AbortSignal,
  from = directory,
): Promise<boolean | undefined> {
  const value = await readNumber(join(from, "nf_conntrack_acct"), signal);
  return value === undefined ? undefined : value !== 0;
}

async function readNumber(path: string, signal: AbortSignal): Promise<number | undefined> {
  let text: string;
  try {
    text = await readFile(path, { encoding: "utf8", signal });
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new GatewayError("unreadable", `cannot read ${path}`, { cause });
  }
  const value = /^\d+\n?$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new GatewayError("unreadable", `${path} is not a number: ${text}`);
  return value;
}
