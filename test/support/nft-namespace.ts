/** A separate network namespace for tests that use nf_tables from this process. */
import type { Test } from "tap";
import { openCommitJournal } from "../../agent/kernel/commit-journal.ts";
import { openNftables } from "../../agent/kernel/nftables/transaction.ts";
import { enterNamespace } from "./enter-namespace.ts";
import { addNamespaces, deleteNamespace, testName } from "./namespaces.ts";

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
    await deleteNamespace(namespace);
  });
  return { namespace, netlink, journal };
}
