/** Opens the drivers of the reconciler, and the netlink sockets that they share. */
import type { Family } from "../../lib/model/family.ts";
import type { Config } from "../config.ts";
import { openAccounting } from "./accounting/driver.ts";
import { openCommitJournal } from "./commit-journal.ts";
import { openConntrack, openConntrackNetlink } from "./conntrack/driver.ts";
import { openDataplane } from "./dataplane.ts";
import { createNetfilterDriver } from "./netfilter/driver.ts";
import { NETLINK_ROUTE, NETLINK_XFRM, openNetlink } from "./netlink/connection.ts";
import { createNetworkDriver } from "./network/driver.ts";
import { openNftables } from "./nftables/transaction.ts";
import { previousDataplanesOf } from "./previous-dataplanes.ts";
import { createQosDriver } from "./qos/driver.ts";
import type { Run } from "./run.ts";

/** Does not touch the kernel: each driver reads it at its first observation. */
export function openDrivers(
  commands: Run,
  family: Family,
  config: Pick<Config, "dataplane" | "iptablesVariant">,
) {
  const ruleNetlink = openNftables();
  const routeNetlink = openNetlink(NETLINK_ROUTE);
  const policyNetlink = openNetlink(NETLINK_XFRM);
  const flowNetlink = openConntrackNetlink();
  const commits = openCommitJournal();
  const accounting = openAccounting();
  const dataplane = openDataplane(commands, ruleNetlink, commits, family, config, accounting.ownCommits);
  return {
    /** What the reconciler takes. */
    drivers: {
      dataplane,
      previousDataplanes: () => previousDataplanesOf(dataplane.driver, { family, ruleNetlink, commands }),
      netfilter: createNetfilterDriver({
        netlink: ruleNetlink,
        routeNetlink,
        policyNetlink,
        run: commands,
        backend: () => dataplane.driver.backend,
      }),
      network: createNetworkDriver({ netlink: routeNetlink, family }),
      conntrack: openConntrack(flowNetlink, family),
      qos: createQosDriver({ netlink: routeNetlink, nftables: ruleNetlink }),
      accounting: accounting.driver,
    },
    accounting,
    ruleNetlink,
    routeNetlink,
    close() {
      for (const socket of [commits, ruleNetlink, routeNetlink, flowNetlink, policyNetlink, accounting])
        socket.close();
    },
  };
}
