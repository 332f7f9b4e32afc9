/** The real driver and planner of a dataplane on a model kernel. */

import type { ImportableDataplane, PreviousDataplane } from "../../../agent/kernel/drivers.ts";
import type { RuleAppender } from "../../../agent/kernel/iptables/append-by-example.ts";
import { createIptablesDriver } from "../../../agent/kernel/iptables/driver.ts";
import { createNftablesDriver } from "../../../agent/kernel/nftables/driver.ts";
import type { Run } from "../../../agent/kernel/run.ts";
import { iptablesRules } from "../../../lib/explain/iptables-rules.ts";
import { nftablesRules } from "../../../lib/explain/nftables-rules.ts";
import { interfacesOfIptables, interfacesOfNftables } from "../../../lib/import/interfaces.ts";
import { readIptables } from "../../../lib/import/iptables.ts";
import { readNftables } from "../../../lib/import/nftables.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import { createIptablesPlanner } from "../../../lib/plan/iptables/planner.ts";
import { createNftablesPlanner } from "../../../lib/plan/nftables/planner.ts";
import { nftablesRemoval } from "../../../lib/plan/nftables/removal.ts";
import type { ModelKernel } from "./kernel.ts";
import type { Life } from "./life.ts";
import { ModelNetlink } from "./nft-netlink.ts";

/** @param nowMs the time for the driver's audits */
export function modelDataplane(kernel: ModelKernel, life: Life, nowMs: () => number): ImportableDataplane {
  const run = runOn(kernel, life);
  const { dataplane } = kernel;
  if (dataplane === "nftables") {
    const netlink = new ModelNetlink(kernel.nftSide, life);
    return {
      driver: createNftablesDriver({ netlink, run, nowMs, filterTables: kernel.filterTablesFor(life) }),
      planner: createNftablesPlanner(ipv4),
      readObjects: readNftables,
      findInterfaces: interfacesOfNftables,
      ownRules: nftablesRules,
    } as ImportableDataplane;
  }
  const between = async <T>(effect: () => T): Promise<T> => {
    await life.moment();
    const result = effect();
    await life.moment();
    return result;
  };
  const filterTables = kernel.hasFilterTables ? kernel.filterTablesFor(life) : undefined;
  const backends = kernel.hasFilterTables ? kernel.backendsFor(life) : undefined;
  const appender: RuleAppender = {
    append: (generation, additions) =>
      between(() =>
        generation === kernel.generation && kernel.append(additions)
          ? additions.map((one) => ({ ...one, contents: [] }))
          : undefined,
      ),
    readBack: (appended, read) => between(() => kernel.readBack(appended, read)),
  };
  const driver = createIptablesDriver({
    appender,
    family: ipv4,
    variant: kernel.tables.variant,
    run,
    nowMs,
    filterTables: async () => filterTables,
    backends: async () => backends,
    readGeneration: () => between(() => kernel.generation),
    readLegacyDigest: () => between(() => String(kernel.stamp)),
    removeByHandle: (generation, removals) =>
      between(() => generation === kernel.generation && kernel.removeByHandle(removals)),
  });
  return {
    driver,
    planner: createIptablesPlanner(ipv4),
    readObjects: readIptables,
    findInterfaces: interfacesOfIptables,
    ownRules: iptablesRules,
  };
}

function runOn(kernel: ModelKernel, life: Life): Run {
  return async (argv, options) => {
    await life.moment();
    const output = kernel.command(argv, options);
    await life.moment();
    if (!(options?.exitCodes ?? [0]).includes(output.exitCode))
      throw new GatewayError("command-failed", `${argv[0]} exited with ${output.exitCode}`, {
        details: { ending: "exited", exitCode: output.exitCode },
      });
    return output;
  };
}

/** What an earlier agent of the dataplane nftables left. Whatever the agent removes of it is all of it. */
export function previousNftables({ leftovers }: ModelKernel): PreviousDataplane {
  return {
    name: "nftables",
    planner: nftablesRemoval,
    observe: async () => new Set(leftovers),
    async write() {
      leftovers.clear();
      return { kind: "done" };
    },
  };
}
