/** What a release takes, and in which order. */
import t from "tap";
import { type ReleaseDeps, release } from "../../../../../agent/reconciler/operations/release.ts";
import type { IfMatch } from "../../../../../lib/admission/writes.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { Chain } from "../../../../../lib/netfilter/chain.ts";
import { createIptablesPlanner } from "../../../../../lib/plan/iptables/planner.ts";
import { createNftablesPlanner } from "../../../../../lib/plan/nftables/planner.ts";
import { emptyState, type State } from "../../../../../lib/state/state.ts";
import { entryOf, toIp } from "../../../../support/network-values.ts";

const address = toIp("203.0.113.77");
const { signal } = new AbortController();

/** A rule on the orphan as the dataplane's own tool shows it. */
const byNft = "ip other FORWARD ip daddr 203.0.113.77 accept";
const mangle = new Map([["FORWARD", [{ raw: "-d 203.0.113.77/32 -j ACCEPT" }]]]);

/** With a rule on the orphan, and one on another address. */
function chainAt(tool: string): Chain {
  const rule = (text: string) => ({ text, tests: [], beyond: "all", effect: { kind: "accept" } }) as const;
  const rules = tool.startsWith("nft")
    ? [rule("ip daddr 203.0.113.77 accept"), rule("ip daddr 203.0.113.7 accept")]
    : [rule("-d 203.0.113.77/32 -j ACCEPT"), rule("-d 203.0.113.177/32 -j ACCEPT")];
  const place = tool.startsWith("nft") ? `${tool} other` : `${tool} -t mangle`;
  return { place, name: "FORWARD", hook: undefined, rules };
}

function releaseOf({
  named = [] as readonly string[],
  orphans = ["203.0.113.77/24"],
  ifMatch = undefined as IfMatch | undefined,
  isNft = false,
} = {}) {
  const order: string[] = [];
  const flow = { status: 0 };
  const deps = {
    network: {
      applyAddresses: async (steps: readonly unknown[]) => {
        order.push(`${steps.length} address`);
        return [];
      },
    },
    dataplane: { planner: isNft ? createNftablesPlanner(ipv4) : createIptablesPlanner(ipv4) },
    conntrack: {
      find: async () => ({ flows: [flow], total: 1 }),
      remove: async () => {
        order.push("flows");
        return { removed: 1 };
      },
    },
    store: {
      current: emptyState,
      transact: async (decide: (state: State) => unknown) => {
        decide(emptyState);
        order.push("ledger");
      },
    },
  } as unknown as ReleaseDeps;
  const pass = {
    observe: async () => ({
      facts: { eipsNamedByRules: new Set(named.map(toIp)) },
      observed: new Map<string, unknown>([
        ["rule", isNft ? { foreign: [byNft] } : { variant: "nft", rules: new Map([["mangle", mangle]]) }],
        ["netfilter", { foreign: [chainAt("iptables-nft"), chainAt("iptables-legacy"), chainAt("nft ip")] }],
      ]),
      unread: new Map(),
    }),
    isUnadopted: () => false,
    preview: async () => ({
      addresses: { orphans: orphans.map((cidr) => entryOf("net1", cidr)) },
      program: { family: ipv4 },
    }),
  } as never;
  return { order, released: release(deps, pass, { address, ifMatch }, signal) };
}

t.test("the flows of an orphan are ended, then it is removed", async (t) => {
  const { order, released } = releaseOf();
  t.match(await released, { changes: [{ subsystem: "address" }, { subsystem: "flow" }] });
  t.same(order, ["ledger", "flows", "1 address"]);
});

t.test("the foreign rules of every tool are listed once", async (t) => {
  const [own, legacy, nft] = [
    "-t mangle -A FORWARD -d 203.0.113.77/32 -j ACCEPT",
    "iptables-legacy -t mangle -A FORWARD -d 203.0.113.77/32 -j ACCEPT",
    "nft ip other FORWARD: ip daddr 203.0.113.77 accept",
  ];
  t.same((await releaseOf().released).foreignRules, [own, legacy, nft]);
  t.same((await releaseOf({ isNft: true }).released).foreignRules, [byNft, legacy], "nft shows its own");
});

t.test("nothing is taken of another revision", async (t) => {
  const moved = releaseOf({ ifMatch: [7] });
  await t.rejects(moved.released, { code: "precondition-failed" });
  t.same(moved.order, []);
  t.match(await releaseOf({ ifMatch: [0] }).released, { changes: [{}, {}] });
});

t.test("nothing is taken while an owned rule names it, nor if it is no orphan", async (t) => {
  const ruled = releaseOf({ named: ["203.0.113.77"] });
  await t.rejects(ruled.released, { code: "rules-refused" });
  const absent = releaseOf({ orphans: ["203.0.113.78/24"] });
  await t.rejects(absent.released, { code: "not-found" });
  t.same([ruled.order, absent.order], [[], []]);
});
