/** The sysctls of connection tracking that the flow log needs. Each namespace has its own. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const directory = "/proc/sys/net/netfilter";

export interface EventSysctls {
  /** Those that could not be set, with the reason. */
  readonly refused: Readonly<Record<string, string>>;
  /** Whether the kernel counts bytes and packets of new flows. `undefined` if unknown. */
  readonly isAccounting: boolean | undefined;
}

/**
 * Makes the kernel note when flows begin and end, and send events of all of them: by default it does neither for flows
 * that began while nobody listened. Sets nothing that is set.
 */
export async function enableFlowEvents(from = directory): Promise<EventSysctls> {
  const refused: Record<string, string> = {};
  for (const name of ["nf_conntrack_timestamp", "nf_conntrack_events"]) {
    const path = join(from, name);
    const value = await readNumber(path);
    if (value === 1) continue;
    await writeFile(path, "1\n").catch((error: Error) => {
      refused[name] = error.message;
    });
  }
  const accounting = await readNumber(join(from, "nf_conntrack_acct"));
  return { refused, isAccounting: accounting === undefined ? undefined : accounting !== 0 };
}

async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  return /^\d+\n?$/.test(text) ? Number(text) : undefined;
}
