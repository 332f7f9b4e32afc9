/** The network planners case by case, each plan as its text. */

import t from "tap";
import { ipv4, parseCidr } from "../../../../../lib/model/ipv4.ts";
import { emptyLedger, type LedgerAddress, ledgerKey } from "../../../../../lib/model/ledger.ts";
import type { ObservedNetwork, ObservedRoute } from "../../../../../lib/model/observed.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import type { Binding } from "../../../../../lib/plan/address-plan.ts";
import {
  describeAddressStep,
  planAddresses,
  removableFrom,
  withoutRemoved,
} from "../../../../../lib/plan/network/addresses.ts";
import { bindingRoute, boundBy, heldIn, placeKey } from "../../../../../lib/plan/network/bindings.ts";
import { describeRouteStep, planRoutes } from "../../../../../lib/plan/network/routes.ts";
import { sysctlPlanner } from "../../../../../lib/plan/network/sysctl-planner.ts";
import {
  arpIgnoring,
  describeSysctlStep,
  endingTimeouts,
  isArpIgnoredInVpc,
  isForwarding,
  planSysctls,
} from "../../../../../lib/plan/network/sysctls.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { device, fail, entryOf as ledgerEntry, toIp } from "../../../../support/network-values.ts";

interface AddressCase {
  readonly name: string;
  /** `"eth0 10.0.1.2/24"`; secondary with a `+` at its end. */
  readonly observed: readonly string[];
  /** EIPs that local routes bind: `"net1 203.0.113.10"`. */
  readonly routed?: readonly string[];
  /** Addresses whose route in the local table is missing. */
  readonly unrouted?: readonly string[];
  readonly binding?: Binding;
  readonly eips?: readonly string[];
  readonly ledger?: readonly string[];
  readonly rules?: readonly string[];
  readonly keep?: readonly string[];
  readonly isPromoting?: boolean;
  readonly plan?: readonly string[];
  readonly own?: readonly string[];
  readonly orphans?: readonly string[];
  readonly missing?: readonly string[];
  readonly stale?: readonly string[];
  readonly blocked?: readonly string[];
  readonly anchors?: readonly string[];
  readonly unanswered?: readonly string[];
}

/** How a plan names the local route of an EIP. */
const local = (ip: string, name = "net1") => `local ${ip}/32 dev ${name} table 255 proto 196 metric 77`;

const addressCases: readonly AddressCase[] = [
  {
    name: "an EIP beside the gateway's own address",
    observed: ["eth0 10.0.1.2/24", "net1 203.0.113.2/24"],
    eips: ["net1 203.0.113.10/24"],
    plan: ["add 203.0.113.10/24 dev net1"],
    own: ["10.0.1.2", "203.0.113.2"],
  },
  {
    name: "an address whose local route is missing",
    observed: [
      "eth0 10.0.1.2/24",
      "net1 203.0.113.2/24",
      "net1 203.0.113.10/24+",
      "net1 203.0.113.11/24+",
      "net1 198.51.100.7/32",
    ],
    unrouted: [
      "eth0 10.0.1.2/24",
      "net1 203.0.113.10/24+",
      "net1 203.0.113.99/24+",
      "net1 198.51.100.7/32",
      "lo 127.0.0.1/8",
    ],
    eips: ["net1 203.0.113.10/24", "net1 203.0.113.11/24", "net1 198.51.100.7/32"],
    ledger: ["net1 198.51.100.7/32"],
    plan: [
      "append local 203.0.113.10/32 dev net1 table 255 proto 2 src 203.0.113.2",
      "append local 198.51.100.7/32 dev net1 table 255 proto 2 src 198.51.100.7",
    ],
    missing: ["net1 203.0.113.10/24", "net1 203.0.113.11/24"],
    own: ["10.0.1.2", "203.0.113.2"],
    unanswered: ["eth0 10.0.1.2/24"],
  },
  {
    name: "on the VPC's interface every address is the gateway's own, rules or not",
    observed: ["eth0 10.0.1.2/24", "eth0 10.0.1.3/24+", "lo 127.0.0.1/8", "lo 127.0.0.2/8+"],
    rules: ["10.0.1.3"],
    own: ["10.0.1.2", "10.0.1.3", "127.0.0.1", "127.0.0.2"],
  },
  {
    name: "one own address per subnet, the rest are orphans",
    observed: [
      "net1 203.0.113.2/24",
      "net1 198.51.100.2/25",
      "net1 203.0.113.3/24+",
      "net1 198.51.100.9/25+",
    ],
    own: ["203.0.113.2", "198.51.100.2"],
    orphans: ["net1 203.0.113.3/24", "net1 198.51.100.9/25"],
  },
  {
    name: "a stray /32 inside the gateway's subnet is an orphan, whichever came first",
    observed: ["net1 203.0.113.9/32", "net1 203.0.113.2/24"],
    own: ["203.0.113.2"],
    orphans: ["net1 203.0.113.9/32"],
  },
  {
    name: "the gateway's own address is never touched, whatever is asked",
    observed: ["net1 203.0.113.2/24"],
    eips: ["net1 203.0.113.2/24"],
    own: ["203.0.113.2"],
  },
  {
    name: "nor with another prefix length",
    observed: ["net1 203.0.113.2/24"],
    eips: ["net1 203.0.113.2/32"],
    own: ["203.0.113.2"],
  },
  {
    name: "after a flush no EIP is taken for the gateway's own",
    observed: ["net1 203.0.113.10/24", "net1 203.0.113.11/24+"],
    eips: ["net1 203.0.113.10/24", "net1 203.0.113.11/24"],
    ledger: ["net1 203.0.113.10/24", "net1 203.0.113.11/24"],
  },
  {
    name: "what the ledger holds and nobody asks for goes",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    ledger: ["net1 203.0.113.10/24"],
    plan: ["del 203.0.113.10/24 dev net1"],
    own: ["203.0.113.2"],
  },
  {
    name: "but not before its flows went",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    ledger: ["net1 203.0.113.10/24"],
    keep: ["203.0.113.10"],
    own: ["203.0.113.2"],
  },
  {
    name: "an EIP that is there is adopted",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    eips: ["net1 203.0.113.10/24"],
    own: ["203.0.113.2"],
    missing: ["net1 203.0.113.10/24"],
  },
  {
    name: "a secondary address that only a rule names is adopted, and goes",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    rules: ["203.0.113.10"],
    plan: ["del 203.0.113.10/24 dev net1"],
    own: ["203.0.113.2"],
    missing: ["net1 203.0.113.10/24"],
  },
  {
    name: "a primary one is left: a stray rule may name the gateway's own",
    observed: ["net1 203.0.113.2/24"],
    rules: ["203.0.113.2"],
    orphans: ["net1 203.0.113.2/24"],
  },
  {
    name: "the wrong prefix length goes if it is the agent's",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/32"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/32"],
    plan: ["add 203.0.113.10/24 dev net1", "del 203.0.113.10/32 dev net1"],
    own: ["203.0.113.2"],
  },
  {
    name: "and stays if it is not; it is no orphan, since an EIP has its IP",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/32"],
    eips: ["net1 203.0.113.10/24"],
    plan: ["add 203.0.113.10/24 dev net1"],
    own: ["203.0.113.2"],
  },
  {
    name: "an EIP of the ledger that somebody re-added with another prefix length is not the gateway's own",
    observed: ["net1 203.0.113.10/32"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: ["add 203.0.113.10/24 dev net1"],
  },
  {
    name: "an EIP moves between interfaces",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    eips: ["net2 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: ["add 203.0.113.10/24 dev net2", "del 203.0.113.10/24 dev net1"],
    own: ["203.0.113.2"],
  },
  {
    name: "an interface that is not there blocks, and blocks nobody else",
    observed: ["net1 203.0.113.2/24"],
    eips: ["net7 203.0.113.10/24", "net1 203.0.113.11/24"],
    plan: ["add 203.0.113.11/24 dev net1"],
    own: ["203.0.113.2"],
    blocked: ["interface net7 does not exist"],
  },
  {
    name: "the ledger forgets what is gone",
    observed: ["net1 203.0.113.2/24"],
    ledger: ["net1 203.0.113.10/24"],
    own: ["203.0.113.2"],
    stale: ["net1 203.0.113.10/24"],
  },
  {
    name: "without promote_secondaries a primary waits for those that it would take along",
    observed: ["net1 203.0.113.10/24", "net1 203.0.113.11/24+"],
    eips: ["net1 203.0.113.11/24"],
    ledger: ["net1 203.0.113.10/24", "net1 203.0.113.11/24"],
    isPromoting: false,
    blocked: ["promote_secondaries is off on net1: removing it would remove other addresses too"],
  },
  {
    name: "or that are just coming",
    observed: ["net1 203.0.113.10/24"],
    eips: ["net1 203.0.113.11/24"],
    ledger: ["net1 203.0.113.10/24"],
    isPromoting: false,
    plan: ["add 203.0.113.11/24 dev net1"],
    blocked: ["promote_secondaries is off on net1: removing it would remove other addresses too"],
  },
  {
    name: "but not where all go; the secondaries do first, or each deletion would move all that are left",
    observed: ["net1 203.0.113.10/24", "net1 203.0.113.11/24+"],
    ledger: ["net1 203.0.113.10/24", "net1 203.0.113.11/24"],
    isPromoting: false,
    plan: ["del 203.0.113.11/24 dev net1", "del 203.0.113.10/24 dev net1"],
  },
  {
    name: "bound by route, an EIP is a local route and no address",
    binding: "route",
    observed: ["net1 203.0.113.2/24"],
    eips: ["net1 203.0.113.10/24", "net7 203.0.113.11/24"],
    plan: [`append ${local("203.0.113.10")}`],
    own: ["203.0.113.2"],
    blocked: ["interface net7 does not exist"],
  },
  {
    name: "as it should be, bound by route",
    binding: "route",
    observed: ["net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.10"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    own: ["203.0.113.2"],
  },
  {
    name: "to route: the route comes before the address goes",
    binding: "route",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: [`append ${local("203.0.113.10")}`, "del 203.0.113.10/24 dev net1"],
    own: ["203.0.113.2"],
  },
  {
    name: "back to address: the address comes before the route goes",
    observed: ["net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.10"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: ["add 203.0.113.10/24 dev net1", `del ${local("203.0.113.10")}`],
    own: ["203.0.113.2"],
  },
  {
    name: "half way, in either direction",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    routed: ["net1 203.0.113.10"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: [`del ${local("203.0.113.10")}`],
    own: ["203.0.113.2"],
  },
  {
    name: "half way to route",
    binding: "route",
    observed: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    routed: ["net1 203.0.113.10"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: ["del 203.0.113.10/24 dev net1"],
    own: ["203.0.113.2"],
  },
  {
    name: "a route that nobody asks for goes, whether or not the ledger knows",
    binding: "route",
    observed: ["net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.10", "net1 203.0.113.11"],
    ledger: ["net1 203.0.113.10/24"],
    plan: [`del ${local("203.0.113.10")}`, `del ${local("203.0.113.11")}`],
    own: ["203.0.113.2"],
  },
  {
    name: "but not before its flows went",
    binding: "route",
    observed: ["net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.10"],
    ledger: ["net1 203.0.113.10/24"],
    keep: ["203.0.113.10"],
    own: ["203.0.113.2"],
  },
  {
    name: "a route that the ledger does not know is written down, and what is gone is forgotten",
    binding: "route",
    observed: ["net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.10"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.11/24"],
    own: ["203.0.113.2"],
    missing: ["net1 203.0.113.10/24"],
    stale: ["net1 203.0.113.11/24"],
  },
  {
    name: "an EIP's route moves between interfaces",
    binding: "route",
    observed: ["net1 203.0.113.2/24", "net2 198.51.100.2/24"],
    routed: ["net1 203.0.113.10"],
    eips: ["net2 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    plan: [`append ${local("203.0.113.10", "net2")}`, `del ${local("203.0.113.10")}`],
    own: ["203.0.113.2", "198.51.100.2"],
  },
  {
    name: "bound by route, an address that somebody puts beside it is no more the gateway's own than before",
    binding: "route",
    observed: ["net1 203.0.113.10/32", "net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.10"],
    eips: ["net1 203.0.113.10/24"],
    ledger: ["net1 203.0.113.10/24"],
    own: ["203.0.113.2"],
  },
  {
    name: "the gateway's own address gets no route either",
    binding: "route",
    observed: ["net1 203.0.113.2/24"],
    routed: ["net1 203.0.113.2"],
    eips: ["net1 203.0.113.2/24"],
    plan: [`del ${local("203.0.113.2")}`],
    own: ["203.0.113.2"],
  },
  {
    name: "where all addresses are EIPs the first that is there keeps its own, for the routes to rest on",
    binding: "route",
    observed: ["net1 203.0.113.11/24", "net1 203.0.113.12/24+"],
    eips: ["net1 203.0.113.10/24", "net1 203.0.113.11/24", "net1 203.0.113.12/24"],
    ledger: ["net1 203.0.113.11/24", "net1 203.0.113.12/24"],
    plan: [
      `append ${local("203.0.113.10")}`,
      `append ${local("203.0.113.11")}`,
      `append ${local("203.0.113.12")}`,
      "del 203.0.113.12/24 dev net1",
    ],
    anchors: ["eips/net1 203.0.113.11/24"],
  },
  {
    name: "and hands over to the older one when it goes",
    binding: "route",
    observed: ["net1 203.0.113.11/24"],
    routed: ["net1 203.0.113.10", "net1 203.0.113.11", "net1 203.0.113.12"],
    eips: ["net1 203.0.113.10/24", "net1 203.0.113.12/24"],
    ledger: ["net1 203.0.113.10/24", "net1 203.0.113.11/24", "net1 203.0.113.12/24"],
    plan: ["add 203.0.113.10/24 dev net1", `del ${local("203.0.113.11")}`, "del 203.0.113.11/24 dev net1"],
    anchors: ["eips/net1 203.0.113.10/24"],
  },
  {
    name: "and gives it up when the gateway has an address of its own again",
    binding: "route",
    observed: ["net1 203.0.113.11/24", "net1 203.0.113.2/24+"],
    routed: ["net1 203.0.113.11"],
    eips: ["net1 203.0.113.11/24"],
    ledger: ["net1 203.0.113.11/24"],
    plan: ["del 203.0.113.11/24 dev net1"],
    own: ["203.0.113.2"],
  },
];

t.test("addresses", async (t) => {
  for (const each of addressCases) {
    const ledger = (each.ledger ?? []).map(entryOf);
    const plan = planAddresses({
      program: programOf({ eips: each.eips ?? [] }),
      observed: networkOf({
        addresses: each.observed,
        routed: each.routed ?? [],
        unrouted: each.unrouted,
        isPromoting: each.isPromoting ?? true,
      }),
      ledger: { ...emptyLedger, addresses: new Map(ledger.map((entry) => [ledgerKey(entry), entry])) },
      ownedByRules: new Set(each.rules?.map(toIp)),
      keep: new Set(each.keep?.map(toIp)),
      binding: each.binding ?? "address",
    });
    const text = [...plan.add, ...plan.remove].map((step) => describeAddressStep(step).text);
    t.same(
      {
        plan: text.map((line) => line.replace(/^ip (address|route) /, "")),
        own: [...plan.own].sort(),
        orphans: plan.orphans.map(ledgerKey),
        missing: plan.ledgerMissing.map(ledgerKey),
        stale: plan.ledgerStale.map(ledgerKey),
        blocked: plan.blocked.map((item) => item.message),
        anchors: plan.anchors,
        unanswered: (plan.unanswered ?? []).map(ledgerKey),
      },
      {
        plan: each.plan ?? [],
        own: (each.own ?? []).toSorted(),
        orphans: each.orphans ?? [],
        missing: each.missing ?? [],
        stale: each.stale ?? [],
        blocked: each.blocked ?? [],
        anchors: each.anchors ?? [],
        unanswered: each.unanswered ?? [],
      },
      each.name,
    );
  }
});

t.test("bindings", async (t) => {
  const network = networkOf({
    addresses: ["net1 203.0.113.2/24", "net1 203.0.113.10/24+"],
    routed: ["net1 203.0.113.10", "net1 203.0.113.11"],
    routes: ["0.0.0.0/0 203.0.113.1 net1 proto 196"],
  });
  t.same(heldIn(network).map(placeKey), [
    "net1 203.0.113.2",
    "net1 203.0.113.10",
    "net1 203.0.113.10",
    "net1 203.0.113.11",
  ]);
  const binding = bindingRoute(entryOf("net1 203.0.113.12/24"));
  t.same(boundBy(binding), { interface: "net1", address: "203.0.113.12" });
  for (const foreign of [
    { protocol: 2 },
    { metric: 0 },
    { table: 254 },
    { type: "unicast" },
    { interface: undefined },
    { destination: "203.0.113.0/24" },
  ] as Partial<ObservedRoute>[]) {
    t.equal(boundBy({ ...binding, ...foreign }), undefined, JSON.stringify(foreign));
  }

  const plan = planAddresses({
    program: programOf({ eips: ["net1 203.0.113.10/24"] }),
    observed: network,
    ledger: emptyLedger,
    ownedByRules: new Set(),
    keep: new Set(),
    binding: "address",
  });
  const { remove } = plan;
  t.same(
    heldIn(withoutRemoved(network, remove)).map(placeKey),
    ["net1 203.0.113.2", "net1 203.0.113.10"],
    "what goes is gone, what is bound otherwise stays",
  );
  t.equal(withoutRemoved(network, remove).routes.length, 1, "and every other route");
  t.same(
    remove.map(({ object }) => object),
    ["eips/net1 203.0.113.10/24", undefined],
    "and says whose other binding it makes way for",
  );
  t.same(removableFrom(plan, new Set([undefined])), remove);
  t.same(
    removableFrom(plan, new Set(["eips/net1 203.0.113.10/24"])).map(({ entry }) => entry.address),
    ["203.0.113.11"],
    "which keeps it where the kernel refused the other",
  );
  const [address] = remove.map(
    (step) => ({ ...step, binding: "address", entry: entryOf("net1 203.0.113.10/24") }) as const,
  );
  t.same(heldIn(withoutRemoved(network, address === undefined ? [] : [address])).map(placeKey), [
    "net1 203.0.113.2",
    "net1 203.0.113.10",
    "net1 203.0.113.11",
  ]);
});

interface RouteCase {
  readonly name: string;
  /** `"0.0.0.0/0 10.0.1.1 eth0 proto 3 metric 100 onlink table 255"`; `-` for no next hop or interface. */
  readonly observed: readonly string[];
  readonly gateway?: string;
  /** Absent: the gateway's own address on net1. */
  readonly addresses?: readonly string[];
  readonly eips?: readonly string[];
  readonly isSet?: false;
  readonly routes?: readonly string[];
  readonly plan?: readonly string[];
  readonly blocked?: readonly string[];
}

const routeCases: readonly RouteCase[] = [
  { name: "nothing known, nothing touched", observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3"] },
  {
    name: "the default route is added",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3 metric 100"],
    gateway: "203.0.113.1",
    plan: ["add default via 203.0.113.1 dev net1 proto 196 onlink"],
  },
  {
    name: "the default route is put in a foreign one's place, others of metric 0 go",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3", "0.0.0.0/0 - - proto 16"],
    gateway: "203.0.113.1",
    plan: [
      "replace default via 203.0.113.1 dev net1 proto 196 onlink (was: default via 10.0.1.1 dev eth0 proto 3)",
      "del default proto 16",
    ],
  },
  {
    name: "a foreign one beside the right one goes, too",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3", "0.0.0.0/0 203.0.113.1 net1 proto 196 onlink"],
    gateway: "203.0.113.1",
    plan: ["del default via 10.0.1.1 dev eth0 proto 3"],
  },
  {
    name: "a default route that is not onlink is not the one",
    observed: ["0.0.0.0/0 203.0.113.1 net1 proto 196"],
    gateway: "203.0.113.1",
    plan: [
      "replace default via 203.0.113.1 dev net1 proto 196 onlink (was: default via 203.0.113.1 dev net1 proto 196)",
    ],
  },
  {
    name: "without an address on the external interface another one keeps the default route",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3"],
    gateway: "203.0.113.1",
    addresses: ["eth0 10.0.1.254/24"],
  },
  {
    name: "an EIP on another external interface does not change that",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3"],
    gateway: "203.0.113.1",
    addresses: ["eth0 10.0.1.254/24"],
    eips: ["net2 198.51.100.10/24"],
  },
  {
    name: "the agent's own default route stays when the last address goes",
    observed: ["0.0.0.0/0 203.0.113.1 net1 proto 196 onlink"],
    gateway: "203.0.113.1",
    addresses: ["eth0 10.0.1.254/24"],
  },
  {
    name: "but not one by another gateway",
    observed: ["0.0.0.0/0 203.0.113.9 net1 proto 196 onlink"],
    gateway: "203.0.113.1",
    addresses: ["eth0 10.0.1.254/24"],
    plan: ["del default via 203.0.113.9 dev net1 proto 196 onlink"],
  },
  {
    name: "with the first EIP the default route moves",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3"],
    gateway: "203.0.113.1",
    addresses: ["eth0 10.0.1.254/24"],
    eips: ["net1 203.0.113.10/24"],
    plan: [
      "replace default via 203.0.113.1 dev net1 proto 196 onlink (was: default via 10.0.1.1 dev eth0 proto 3)",
    ],
  },
  {
    name: "before a set is written another program's default route stays, whatever its metric",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3 metric 100"],
    gateway: "203.0.113.1",
    isSet: false,
  },
  {
    name: "beside the agent's own one it changes nothing",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3 metric 100", "0.0.0.0/0 203.0.113.1 net1 proto 196 onlink"],
    gateway: "203.0.113.1",
    isSet: false,
  },
  {
    name: "where there is none, it is made",
    observed: ["10.0.0.0/8 10.0.1.1 eth0 proto 3"],
    gateway: "203.0.113.1",
    isSet: false,
    plan: ["add default via 203.0.113.1 dev net1 proto 196 onlink"],
  },
  {
    name: "the agent's own default route goes when no gateway is known",
    observed: ["0.0.0.0/0 203.0.113.1 net1 proto 196 onlink"],
    plan: ["del default via 203.0.113.1 dev net1 proto 196 onlink"],
  },
  {
    name: "a link that is down or not there blocks its own routes only",
    observed: ["0.0.0.0/0 10.0.1.1 eth0 proto 3"],
    gateway: "203.0.113.1",
    routes: ["10.1.0.0/16 10.0.1.1 down0", "10.2.0.0/16 10.0.1.1 gone0"],
    plan: [
      "replace default via 203.0.113.1 dev net1 proto 196 onlink (was: default via 10.0.1.1 dev eth0 proto 3)",
    ],
    blocked: ["down0 is down", "interface gone0 does not exist"],
  },
  {
    name: "as it should be",
    observed: [
      "0.0.0.0/0 203.0.113.1 net1 proto 196 onlink",
      "10.1.0.0/16 10.0.1.1 eth0 proto 196",
      "10.0.1.0/24 - eth0 proto 2",
      "203.0.113.10/32 - net1 proto 196 metric 77 table 255",
    ],
    gateway: "203.0.113.1",
    routes: ["10.1.0.0/16 10.0.1.1 eth0"],
  },
  {
    name: "drift of the agent's own: another next hop, another metric, twice, unasked",
    observed: [
      "10.1.0.0/16 10.0.1.9 eth0 proto 196",
      "10.2.0.0/16 10.0.1.1 eth0 proto 196 metric 5",
      "10.3.0.0/16 10.0.1.1 eth0 proto 196",
      "10.3.0.0/16 10.0.1.2 eth0 proto 196",
      "10.4.0.0/16 10.0.1.1 eth0 proto 196",
    ],
    routes: ["10.1.0.0/16 10.0.1.1 eth0", "10.2.0.0/16 10.0.1.1 eth0", "10.3.0.0/16 10.0.1.2 eth0"],
    plan: [
      "replace 10.1.0.0/16 via 10.0.1.1 dev eth0 proto 196 (was: 10.1.0.0/16 via 10.0.1.9 dev eth0 proto 196)",
      "add 10.2.0.0/16 via 10.0.1.1 dev eth0 proto 196",
      "del 10.2.0.0/16 via 10.0.1.1 dev eth0 proto 196 metric 5",
      "del 10.3.0.0/16 via 10.0.1.1 dev eth0 proto 196",
      "del 10.4.0.0/16 via 10.0.1.1 dev eth0 proto 196",
    ],
  },
  {
    name: "foreign routes in the place are replaced, the kernel's own block; another metric is no matter",
    observed: [
      "10.1.0.0/16 10.0.1.9 eth0 proto 3",
      "10.2.0.0/16 10.0.1.1 eth0 proto 4",
      "10.2.0.0/16 10.0.1.8 eth0 proto 3",
      "10.3.0.0/16 10.0.1.1 eth0 proto 3 metric 10",
      "10.0.1.0/24 - eth0 proto 2",
    ],
    routes: [
      "10.1.0.0/16 10.0.1.1 eth0",
      "10.2.0.0/16 10.0.1.1 eth0",
      "10.3.0.0/16 10.0.1.1 eth0",
      "10.0.1.0/24 10.0.1.1 eth0",
    ],
    plan: [
      "replace 10.1.0.0/16 via 10.0.1.1 dev eth0 proto 196 (was: 10.1.0.0/16 via 10.0.1.9 dev eth0 proto 3)",
      "replace 10.2.0.0/16 via 10.0.1.1 dev eth0 proto 196 (was: 10.2.0.0/16 via 10.0.1.1 dev eth0 proto 4)",
      "del 10.2.0.0/16 via 10.0.1.8 dev eth0 proto 3",
      "add 10.3.0.0/16 via 10.0.1.1 dev eth0 proto 196",
    ],
    blocked: ["a connected subnet has the same destination: 10.0.1.0/24 dev eth0 proto 2"],
  },
  {
    name: "a subnet that was connected later stays beside the agent's route",
    observed: ["10.0.1.0/24 10.0.1.1 eth0 proto 196", "10.0.1.0/24 - eth0 proto 2"],
    routes: ["10.0.1.0/24 10.0.1.1 eth0"],
  },
];

t.test("routes", async (t) => {
  for (const each of routeCases) {
    const { steps, blocked } = planRoutes({
      program: programOf({ gateway: each.gateway, routes: each.routes ?? [], eips: each.eips ?? [] }),
      observed: networkOf({ routes: each.observed, addresses: each.addresses ?? ["net1 203.0.113.2/24"] }),
      isSet: each.isSet,
    });
    t.same(
      {
        plan: steps.map((step) => describeRouteStep(step).text.replace("ip route ", "")),
        blocked: blocked.map((item) => item.message),
      },
      { plan: each.plan ?? [], blocked: each.blocked ?? [] },
      each.name,
    );
  }
  const [change] = planRoutes({
    program: programOf({ routes: ["10.1.0.0/16 10.0.1.1 eth0"] }),
    observed: networkOf({}),
  }).steps.map(describeRouteStep);
  t.match(change, { action: "add", subsystem: "route", object: "routes/10.1.0.0/16" });
});

t.test("sysctls", async (t) => {
  const program = programOf({ eips: ["net2 198.51.100.10/24"] });
  const off = networkOf({ isPromoting: false, isForwarding: false });
  const steps = planSysctls(program, off);
  t.same(
    steps.map((step) => describeSysctlStep(step).text),
    [
      "sysctl net.ipv4.ip_forward=1",
      "sysctl net.ipv4.conf.eth0.forwarding=1",
      "sysctl net.ipv4.conf.net1.forwarding=1",
      "sysctl net.ipv4.conf.net2.forwarding=1",
      "sysctl net.ipv4.conf.net1.promote_secondaries=1",
      "sysctl net.ipv4.conf.net2.promote_secondaries=1",
    ],
  );
  t.notOk(isForwarding(program, off));
  const on = networkOf({});
  t.ok(isForwarding(program, on));
  t.same(planSysctls(program, on), []);
  const plan = (observed: ObservedNetwork) =>
    sysctlPlanner.plan({ program, context: {}, facts: {} } as PlanInput, observed);
  t.match(plan(off).notices, [{ reason: "ForwardingOff" }], "what is left after a pass could not be set");
  t.match(plan(off).obstacles().kinds.get("fip"), { condition: "Ready", reason: "ForwardingOff" });
  t.same([plan(on).notices, [...plan(on).obstacles().kinds]], [[], []]);

  const sysctls = new Map(on.sysctls).set("net.ipv4.ip_forward", undefined);
  t.same(planSysctls(program, { ...on, sysctls }), [], "forwarding is judged by interface");
  sysctls.set("net.ipv4.ip_forward", 1).set("net.ipv4.conf.eth0.forwarding", 0);
  t.same(planSysctls(program, { ...on, sysctls }), [{ key: "net.ipv4.conf.eth0.forwarding", value: 1 }]);

  t.same(arpIgnoring(program, on), []);
  sysctls.set("net.ipv4.conf.net2.arp_ignore", 1);
  t.same(arpIgnoring(program, { ...on, sysctls }), ["net2"], "its EIP is bound by route");
  const held = program.eips.map(({ address, interface: name }) => ({
    interface: name,
    address,
    prefixLength: 24,
    isSecondary: false,
    label: "",
  }));
  t.same(arpIgnoring(program, { ...on, addresses: held, sysctls }), [], "the kernel answers for addresses");
  for (const [value, ignoring] of [
    [3, []],
    [4, []],
    [8, ["net2"]],
  ] as const) {
    const set = new Map(sysctls).set("net.ipv4.conf.net2.arp_ignore", value);
    t.same(arpIgnoring(program, { ...on, addresses: held, sysctls: set }), ignoring, `${value}`);
  }
  sysctls.set("net.ipv4.conf.all.arp_ignore", 2);
  t.same(arpIgnoring(program, { ...on, sysctls }), ["net1", "net2"]);
  t.notOk(isArpIgnoredInVpc(program, { ...on, sysctls }), "pods ask for the interface's own address");
  sysctls.set("net.ipv4.conf.eth0.arp_ignore", 8);
  t.ok(isArpIgnoredInVpc(program, { ...on, sysctls }));

  const udp = "net.netfilter.nf_conntrack_udp_timeout";
  t.same(endingTimeouts(program, { ...on, sysctls: new Map([[udp, 1]]) }), []);
  t.same(endingTimeouts(program, { ...on, sysctls: new Map([[udp, 0]]) }), [udp]);
});

function programOf(wish: {
  readonly eips?: readonly string[];
  readonly gateway?: string | undefined;
  readonly routes?: readonly string[];
}): Program {
  return {
    family: ipv4,
    vpcInterface: device("eth0"),
    externalInterface: device("net1"),
    defaultGateway: wish.gateway === undefined ? undefined : toIp(wish.gateway),
    eips: (wish.eips ?? []).map((eip) => ({ id: `eips/${eip}`, ...entryOf(eip) })),
    fips: [],
    dnats: [],
    pools: [],
    routes: (wish.routes ?? []).map((text) => {
      const [destination = "", via = "", name = ""] = text.split(" ");
      return {
        id: `routes/${destination}`,
        destination: parseCidr(destination) ?? fail(text),
        via: toIp(via),
        interface: device(name),
      };
    }),
  };
}

function networkOf(facts: {
  readonly addresses?: readonly string[];
  readonly routes?: readonly string[];
  readonly routed?: readonly string[];
  readonly unrouted?: readonly string[] | undefined;
  readonly isPromoting?: boolean;
  readonly isForwarding?: boolean;
}): ObservedNetwork {
  const names = ["lo", "eth0", "net1", "net2", "down0"];
  const links = names.map((name, index) => ({
    index: index + 1,
    name: device(name),
    mac: "",
    isUp: name !== "down0",
    hasCarrier: true,
  }));
  const addressOf = (text: string) => ({
    ...entryOf(text.replace("+", "")),
    isSecondary: text.endsWith("+"),
    label: "",
  });
  const addresses = (facts.addresses ?? []).map(addressOf);
  const unrouted = facts.unrouted && { unrouted: facts.unrouted.map(addressOf) };
  const sysctls: [
    `net.ipv4.conf.${string}.forwarding` | `net.ipv4.conf.${string}.promote_secondaries`,
    number,
  ][] = names.flatMap((name) => [
    [`net.ipv4.conf.${name}.forwarding`, facts.isForwarding === false ? 0 : 1],
    [`net.ipv4.conf.${name}.promote_secondaries`, facts.isPromoting === false ? 0 : 1],
  ]);
  const routes = [
    ...(facts.routes ?? []).map(routeOf),
    ...(facts.routed ?? []).map((place) => bindingRoute(entryOf(`${place}/32`))),
  ];
  return { links, addresses, ...unrouted, routes, sysctls: new Map(sysctls) };
}

function routeOf(text: string): ObservedRoute {
  const [destination = "", via = "-", name = "-", ...rest] = text.split(" ");
  const after = (word: string) => {
    const index = rest.indexOf(word);
    return index < 0 ? undefined : Number(rest[index + 1]);
  };
  return {
    table: after("table") ?? 254,
    type: "unicast",
    destination: parseCidr(destination) ?? fail(text),
    via: via === "-" ? undefined : toIp(via),
    interface: name === "-" ? undefined : device(name),
    protocol: after("proto") ?? 0,
    metric: after("metric") ?? 0,
    isOnlink: rest.includes("onlink"),
  };
}

/** `"net1 203.0.113.10/24"`. */
function entryOf(text: string): LedgerAddress {
  const [name = "", cidr = ""] = text.split(" ");
  return ledgerEntry(name, cidr);
}
