/**
 * What other dataplanes left in this namespace: one that served before a restart with other settings. Both at once are
 * safe (the first mapping wins, nothing is translated twice). So the old one is removed after the new one is verified,
 * and no flow is interrupted.
 */
import type { Transaction } from "../../lib/iptables/restore.ts";
import { parseSave, type RuleDump } from "../../lib/iptables/save.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Family } from "../../lib/model/family.ts";
import { backendsTable } from "../../lib/nftables/backends.ts";
import { tableFamily, tableLabel } from "../../lib/nftables/family.ts";
import { iptablesRemoval } from "../../lib/plan/iptables/removal.ts";
import { backendsRemoval, nftablesRemoval, type TableNames } from "../../lib/plan/nftables/removal.ts";
import type { PreviousDataplane, RulesDriver, WriteOutcome } from "./drivers.ts";
import { restore, save, type Variant } from "./iptables/tools.ts";
import { firstLines, type Run } from "./run.ts";

/** The dataplanes that may have served before `backend`. */
export function previousDataplanesOf(
  backend: RulesDriver["backend"],
  family: Family,
  run: Run,
): readonly PreviousDataplane[] {
  switch (backend) {
    case "nftables":
      return [
        previousIptables("nft", family, run),
        previousIptables("legacy", family, run),
        previousBackends(run),
      ];
    case "iptables-nft":
      return [previousNftables(run), previousIptables("legacy", family, run)];
    case "iptables-legacy":
      return [previousNftables(run), previousIptables("nft", family, run)];
  }
}

function previousIptables(
  variant: Variant,
  family: Family,
  run: Run,
): PreviousDataplane<RuleDump, readonly Transaction[]> {
  return {
    name: `iptables-${variant}`,
    planner: iptablesRemoval,
    async observe(signal) {
      const dump = await orAbsent(() => save(variant, family, run, signal));
      return parseSave(dump ?? "", family, []);
    },
    async write(transactions, signal) {
      for (const transaction of transactions) {
        signal.throwIfAborted();
        const refusal = await restore(variant, transaction, family, run);
        if (refusal !== undefined) return refusal;
      }
      return { kind: "done" };
    },
  };
}

function previousNftables(run: Run): PreviousDataplane<TableNames, string | undefined> {
  return {
    name: "nftables",
    planner: nftablesRemoval,
    async observe(signal) {
      const listing = await orAbsent(
        async () => (await run(["nft", "list", "tables", tableFamily.nft.family], { signal })).stdout,
      );
      const tables = (listing ?? "").matchAll(/^\s*table (\S+) (\S+)\s*$/gm);
      const ours = [...tables].filter(([, family]) => family === tableFamily.nft.family);
      return new Set(ours.map(([, , name = ""]) => name));
    },
    write: (input, signal) => loadNft(input, run, signal),
  };
}

function previousBackends(run: Run): PreviousDataplane<string | undefined, string | undefined> {
  const list = ["nft", "list", "table", ...tableLabel(backendsTable).split(" ")] as const;
  return {
    name: "backends",
    planner: backendsRemoval,
    observe: (signal) => orAbsent(async () => (await run(list, { signal })).stdout),
    write: (input, signal) => loadNft(input, run, signal),
  };
}

async function loadNft(input: string | undefined, run: Run, signal: AbortSignal): Promise<WriteOutcome> {
  if (input === undefined) return { kind: "done" };
  signal.throwIfAborted();
  const { exitCode, stderr } = await run(["nft", "-f", "-"], { stdin: input, exitCodes: [0, 1] });
  if (exitCode === 0) return { kind: "done" };
  return { kind: "refused", error: new GatewayError("rules-refused", `nft: ${firstLines(stderr)}`) };
}

/** `undefined` if the tool is not installed or the kernel lacks the feature: then it left nothing. */
async function orAbsent(read: () => Promise<string>): Promise<string | undefined> {
  try {
    return await read();
  } catch (error) {
    const ending = error instanceof GatewayError ? error.details.ending : undefined;
    if (ending === "not-started" || ending === "exited") return undefined;
    throw error;
  }
}
