/**
 * What other dataplanes left in this namespace: the one that served before a restart with other settings. Both at once
 * are safe (the first mapping wins, nothing is translated twice), so the old one goes once the new one is verified,
 * and no flow is cut.
 */
import { parseSave } from "../../lib/iptables/save.ts";
import type { Change } from "../../lib/model/change.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { barrierTables } from "../../lib/nftables/barrier.ts";
import { tableName } from "../../lib/nftables/maps.ts";
import { wantedNothing } from "../../lib/plan/iptables/layout.ts";
import { holdsObjects } from "../../lib/plan/iptables/owned.ts";
import { planTable } from "../../lib/plan/iptables/table.ts";
import type { PreviousDataplane, RulesDriver } from "./drivers.ts";
import { restore, save, type Variant } from "./iptables/tools.ts";
import { firstLines, type Run } from "./run.ts";

/** The dataplanes that may have served before `backend`. */
export function previousDataplanesOf(
  backend: RulesDriver["backend"],
  run: Run,
): readonly PreviousDataplane[] {
  switch (backend) {
    case "nftables":
      return [iptablesPredecessor("nft", run), iptablesPredecessor("legacy", run)];
    case "iptables-nft":
      return [nftablesPredecessor([tableName], run), iptablesPredecessor("legacy", run)];
    case "iptables-legacy":
      // Guard and gate are chains there; both other dataplanes have them as tables.
      return [
        nftablesPredecessor([tableName, ...Object.values(barrierTables)], run),
        iptablesPredecessor("nft", run),
      ];
  }
}

function iptablesPredecessor(variant: Variant, run: Run): PreviousDataplane {
  const read = async (signal: AbortSignal) => {
    const dump = await orAbsent(() => save(variant, run, signal));
    return parseSave(dump ?? "", []);
  };
  return {
    holdsRules: async (signal) => holdsObjects(await read(signal)),
    async clear(signal) {
      const dump = await read(signal);
      const changes: Change[] = [];
      for (const wanted of wantedNothing) {
        const { table, input, changes: planned } = planTable(wanted, dump.get(wanted.table));
        if (input === undefined) continue;
        const refusal = await restore(variant, { table, input }, run);
        if (refusal !== undefined) throw refusal.error;
        changes.push(...planned);
      }
      return changes;
    },
  };
}

function nftablesPredecessor(tables: readonly string[], run: Run): PreviousDataplane {
  const present = async (signal: AbortSignal) => {
    const listing = await orAbsent(
      async () => (await run(["nft", "list", "tables", "ip"], { signal })).stdout,
    );
    const names = new Set(listing?.split("\n").map((line) => line.trim()));
    return tables.filter((table) => names.has(`table ip ${table}`));
  };
  return {
    holdsRules: async (signal) => (await present(signal)).includes(tableName),
    async clear(signal) {
      const leaving = await present(signal);
      if (leaving.length === 0) return [];
      const lines = leaving.map((table) => `delete table ip ${table}`);
      const { exitCode, stderr } = await run(["nft", "-f", "-"], {
        stdin: lines.join("\n"),
        exitCodes: [0, 1],
      });
      if (exitCode !== 0) throw new GatewayError("rules-refused", `nft: ${firstLines(stderr)}`);
      return leaving.map(
        (table): Change => ({ action: "remove", subsystem: "rule", text: `table ip ${table}` }),
      );
    },
  };
}

/** `undefined` where the tool is not installed or the kernel lacks what it asks for: then it left nothing. */
async function orAbsent(read: () => Promise<string>): Promise<string | undefined> {
  try {
    return await read();
  } catch (error) {
    const ending = error instanceof GatewayError ? error.details.ending : undefined;
    if (ending === "not-started" || ending === "exited") return undefined;
    throw error;
  }
}
