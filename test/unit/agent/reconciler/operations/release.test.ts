/** What a release takes, and in which order. */
import t from "tap";
import { type ReleaseDeps, release } from "../../../../../agent/reconciler/operations/release.ts";
import type { IfMatch } from "../../../../../lib/admission/writes.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import { emptyState, type State } from "../../../../../lib/state/state.ts";
import { entryOf, toIp } from "../../../../support/network-values.ts";

const address = toIp("203.0.113.77");
const { signal } = new AbortController();

function releaseOf({
  named = [] as readonly string[],
  orphans = ["203.0.113.77/24"],
  ifMatch = undefined as IfMatch | undefined,
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
    dataplane: { planner: { foreignRulesNaming: () => [] } },
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
      observed: new Map(),
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
