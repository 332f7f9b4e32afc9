/** Guard and gate as nftables tables: reads them, and writes what a plan says. */

import { GatewayError } from "../../../lib/model/errors.ts";
import {
  type BarrierLines,
  type BarrierName,
  barrierTables,
  type ObservedBarrier,
  parseBarrier,
} from "../../../lib/nftables/barrier.ts";
import { firstLines, type Run } from "../run.ts";

export async function observeBarrier(run: Run, signal: AbortSignal): Promise<ObservedBarrier> {
  const [guard, gate] = await Promise.all([readTable("guard", run, signal), readTable("gate", run, signal)]);
  return { guard, gate };
}

/** One transaction. It is finished even if the caller gives up. */
export async function applyBarrier(input: string, run: Run): Promise<void> {
  await run(["nft", "-f", "-"], { stdin: input });
}

/** Lists each table separately: in a joint listing, an absent table would hide the other. */
async function readTable(
  name: BarrierName,
  run: Run,
  signal: AbortSignal,
): Promise<BarrierLines | undefined> {
  const table = barrierTables[name];
  const listing = await run(["nft", "-j", "list", "table", "ip", table], { signal, exitCodes: [0, 1] });
  if (listing.exitCode === 0) return parseBarrier(listing.stdout);
  if (listing.stderr.includes("No such file or directory")) return undefined;
  throw new GatewayError("command-failed", `nft cannot list ${table}: ${firstLines(listing.stderr)}`, {
    details: { command: "nft", exitCode: listing.exitCode },
  });
}
