/** Opens the dataplane of the settings. */
import { iptablesRules } from "../../lib/explain/iptables-rules.ts";
import { nftablesRules } from "../../lib/explain/nftables-rules.ts";
import { interfacesOfIptables, interfacesOfNftables } from "../../lib/import/interfaces.ts";
import { readIptables } from "../../lib/import/iptables.ts";
import { readNftables } from "../../lib/import/nftables.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Family } from "../../lib/model/family.ts";
import { createIptablesPlanner } from "../../lib/plan/iptables/planner.ts";
import { createNftablesPlanner } from "../../lib/plan/nftables/planner.ts";
import type { Config } from "../config.ts";
import type { CommitJournal } from "./commit-journal.ts";
import type { ImportableDataplane } from "./drivers.ts";
import { ExampleAppender } from "./iptables/append-by-example.ts";
import { createIptablesDriver } from "./iptables/driver.ts";
import { readLegacyDigest } from "./iptables/legacy-digest.ts";
import { removeByHandle } from "./iptables/remove-by-handle.ts";
import { chooseVariant } from "./iptables/variant.ts";
import type { ConversingConnection } from "./netlink/connection.ts";
import { findBackends } from "./nftables/backends.ts";
import { createNftablesDriver } from "./nftables/driver.ts";
import { findFilterTables } from "./nftables/filter-tables.ts";
import { OwnCommits } from "./nftables/own-commits.ts";
import { readGeneration } from "./nftables/transaction.ts";
import type { Run } from "./run.ts";

/**
 * Does not touch the kernel: the dataplane reads it at the first observation. While both variants of iptables hold
 * owned rules, every observation throws `mixed-variants` until one of them is cleared.
 */
export function openDataplane(
  run: Run,
  nftables: ConversingConnection,
  journal: CommitJournal,
  family: Family,
  { dataplane, iptablesVariant }: Pick<Config, "dataplane" | "iptablesVariant">,
  ownCommits = new OwnCommits(),
): ImportableDataplane {
  if (dataplane === "nftables") {
    const driver = createNftablesDriver({ netlink: nftables, run, journal });
    return {
      driver,
      planner: createNftablesPlanner(family),
      readObjects: readNftables,
      findInterfaces: interfacesOfNftables,
      ownRules: nftablesRules,
    };
  }
  const driver = createIptablesDriver({
    family,
    run,
    journal,
    readGeneration: (signal) => readGeneration(nftables, signal),
    readLegacyDigest,
    filterTables: (signal) => findFilterTables(nftables, signal, ownCommits),
    backends: (signal) => findBackends(nftables, signal, ownCommits),
    removeByHandle: (generation, removals, signal) => removeByHandle(nftables, generation, removals, signal),
    appender: new ExampleAppender(nftables, family),
    variant: async (signal) => {
      const choice = await chooseVariant(run, iptablesVariant, family, signal);
      if (choice.kind === "mixed") throw new GatewayError("mixed-variants", choice.message);
      return choice.variant;
    },
  });
  return {
    driver,
    planner: createIptablesPlanner(family),
    readObjects: readIptables,
    findInterfaces: interfacesOfIptables,
    ownRules: iptablesRules,
  };
}
