/** A separate network namespace for tests that use nf_tables from this process. */
import type { Test } from "tap";
import { openCommitJournal } from "../../agent/kernel/commit-journal.ts";
import {
  type ConversingConnection,
  NETLINK_NETFILTER,
  openNetlink,
} from "../../agent/kernel/netlink/connection.ts";
import { openNetlinkSocket } from "../../agent/kernel/netlink/socket.ts";
import { openNftables } from "../../agent/kernel/nftables/transaction.ts";
import { enterNamespace } from "./enter-namespace.ts";
import { addNamespaces, deleteNamespaces, testName } from "./namespaces.ts";

/** Enters it until the end of the test, which removes it. */
export async function enterNftNamespace(t: Test, tag: string) {
  const namespace = testName(tag);
  await addNamespaces([namespace]);
  const leave = enterNamespace(namespace);
  const netlink = openNftables();
  const journal = openCommitJournal();
  t.teardown(async () => {
    journal.close();
    netlink.close();
    leave();
    await deleteNamespaces([namespace]);
  });
  return { namespace, netlink, journal };
}

/** A connection to the nf_tables of a namespace that this process is not in. */
export function openNftablesIn(namespace: string): ConversingConnection {
  return openNetlink(NETLINK_NETFILTER, {
    open: (protocol) => {
      const leave = enterNamespace(namespace);
      try {
        return openNetlinkSocket(protocol, {});
      } finally {
        leave();
      }
    },
  });
}
