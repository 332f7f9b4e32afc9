/**
 * Runs in a gateway's namespace in place of the agent, and explains packets over the kernel as it is. It repairs
 * nothing, so that a test can damage the gateway first. Reads one JSON request per line and answers with one line. Ends
 * with its stdin, so it never outlives the test.
 *
 *     node program.ts <state directory> <dataplane> <variant>
 */
import { createInterface } from "node:readline";
import { openCommitJournal } from "../../../agent/kernel/commit-journal.ts";
import { openConntrack, openConntrackNetlink } from "../../../agent/kernel/conntrack/driver.ts";
import { openDataplane } from "../../../agent/kernel/dataplane.ts";
import { createNetfilterDriver } from "../../../agent/kernel/netfilter/driver.ts";
import { NETLINK_ROUTE, NETLINK_XFRM, openNetlink } from "../../../agent/kernel/netlink/connection.ts";
import { createNetworkDriver } from "../../../agent/kernel/network/driver.ts";
import { createNeighbours } from "../../../agent/kernel/network/neighbours.ts";
import { openNftables } from "../../../agent/kernel/nftables/transaction.ts";
import { createRun } from "../../../agent/kernel/run.ts";
import { NextHopWatch } from "../../../agent/reconciler/next-hop-watch.ts";
import { Explanations } from "../../../agent/reconciler/operations/explain.ts";
import { SnapshotReader } from "../../../agent/reconciler/pass/snapshot-reader.ts";
import { quietRequest } from "../../../agent/reconciler/pass-request.ts";
import type { Subsystem } from "../../../agent/reconciler/subsystem.ts";
import { netfilterSubsystem } from "../../../agent/reconciler/subsystems/netfilter.ts";
import { networkSubsystems } from "../../../agent/reconciler/subsystems/network.ts";
import { rulesSubsystems } from "../../../agent/reconciler/subsystems/rules.ts";
import { TimeLimits } from "../../../agent/reconciler/time-limits.ts";
import { openStore } from "../../../agent/store/open-store.ts";
import type { Explanation, Question } from "../../../lib/explain/explanation.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import { plan } from "../../../lib/plan/plan.ts";
import type { PlanContext } from "../../../lib/plan/plan-input.ts";

export type Explained = Explanation | { readonly error: string };

const [directory = "", dataplaneName = "", variant = ""] = process.argv.slice(2);
const silent = { info() {}, warn() {}, error() {} };
const store = await openStore({ directory, now: Date.now, log: silent });
const state = store.current;
// The agent may start again meanwhile.
await store.close();
const run = createRun({});
const rules = openNftables();
const routes = openNetlink(NETLINK_ROUTE);
const flows = openConntrackNetlink();
const dataplane = openDataplane(run, rules, openCommitJournal(), ipv4, {
  dataplane: dataplaneName as "iptables" | "nftables",
  iptablesVariant: variant as "auto" | "nft" | "legacy",
});
const conntrack = openConntrack(flows, ipv4);
// Only what an explanation reads.
const { rule, gate } = rulesSubsystems(dataplane);
const network = createNetworkDriver({ netlink: routes, family: ipv4 });
const nextHops = new NextHopWatch({ neighbours: createNeighbours(routes, ipv4, () => []), wake() {} });
const netfilter = createNetfilterDriver({
  netlink: rules,
  routeNetlink: routes,
  policyNetlink: openNetlink(NETLINK_XFRM),
  run,
  backend: () => dataplane.driver.backend,
});
const subsystems = Object.values({
  ...networkSubsystems(network, nextHops),
  netfilter: netfilterSubsystem(netfilter),
  rule,
  gate,
}) as readonly Subsystem[];
const reader = new SnapshotReader(subsystems, { timeLimits: new TimeLimits(), onLateEnd() {} });
const context: PlanContext = {
  gate: "open",
  bfd: "open",
  config: {
    family: ipv4,
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
    fallbackGateway: undefined,
    eipBinding: "address",
    untranslated: "forward",
    isBfdGated: false,
  },
  isCleanupAllowed: false,
  knownOwn: new Set(),
  expiredLeases: new Set(),
  probing: new Set(),
  addressConflicts: new Map(),
  heldConflicts: new Map(),
  quarantined: new Map(),
};
const planners = subsystems.map(({ planner }) => planner);
const explanations = new Explanations(
  { store: { current: state }, conntrack, dataplane },
  {
    observe: (signal) => reader.read(quietRequest, signal),
    preview: async (state, snapshot) => plan(state, snapshot, context, planners),
  },
);

async function answer(line: string): Promise<void> {
  const { id, question } = JSON.parse(line) as { readonly id: number; readonly question: Question };
  const explained: Explained = await explanations
    .run(question, () => undefined, AbortSignal.timeout(20_000))
    .catch((error: unknown) => ({ error: String(error instanceof Error ? error.stack : error) }));
  process.stdout.write(`${JSON.stringify({ id, explained })}\n`);
}

process.stdout.write(`${JSON.stringify({ id: 0 })}\n`);
for await (const line of createInterface({ input: process.stdin })) void answer(line);
process.exit();
