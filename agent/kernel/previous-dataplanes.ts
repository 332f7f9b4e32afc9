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
import { readTables } from "./netfilter/nft.ts";
import type { ConversingConnection } from "./netlink/connection.ts";
import { hasNftables } from "./nftables/transaction.ts";
import { firstLines, type Run } from "./run.ts";

export interface PreviousDeps {
  readonly family: Family;
  readonly ruleNetlink: ConversingConnection;
  readonly commands: Run;
}

/** The dataplanes that may have served before this one. */
export function previousDataplanesOf(
  { backend }: Pick<RulesDriver, "backend">,
  deps: PreviousDeps,
): readonly PreviousDataplane[] {
  const { family, commands: run } = deps;
  switch (backend) {
    case "nftables":
      return [
        previousIptables("nft", family, run),
        previousIptables("legacy", family, run),
        previousBackends(run),
      ];
    case "iptables-nft":
      return [previousNftables(deps), previousIptables("legacy", family, run)];
    case "iptables-legacy":
      return [previousNftables(deps), previousIptables("nft", family, run)];
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

function previousNftables({
  ruleNetlink,
  commands,
}: PreviousDeps): PreviousDataplane<TableNames, string | undefined> {
  return {
    name: "nftables",
    planner: nftablesRemoval,
    // `nft list tables` reads all rules of all tables first.
    async observe(signal) {
      const tables = (await hasNftables(ruleNetlink, signal)) ? await readTables(ruleNetlink, signal) : [];
      const ours = tables
        .map(({ label }) => label.split(" "))
        .filter(([of]) => of === tableFamily.nft.family);
      return new Set(ours.map(([, name = ""]) => name));
    },
    write: (input, signal) => loadNft(input, commands, signal),
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
