/** A gateway as values, for tests of explanations without a kernel: what iptables-save, `ip route` and others would show. */

import type { ReasonOf } from "../../../agent/reconciler/operations/explain.ts";
import { Explanations } from "../../../agent/reconciler/operations/explain.ts";
import { runSync } from "../../../lib/chunked.ts";
import { compile } from "../../../lib/compile/compile.ts";
import { type Flow, type FlowPredicate, viewOf } from "../../../lib/conntrack/flow.ts";
import type { Explanation, Question } from "../../../lib/explain/explanation.ts";
import { iptablesRules } from "../../../lib/explain/iptables-rules.ts";
import { parseSave } from "../../../lib/iptables/save.ts";
import type { CompileContext } from "../../../lib/kinds/compilation.ts";
import { ipv4, parseCidr } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type {
  ObservedLink,
  ObservedNetwork,
  ObservedRoute,
  PolicyRule,
  SysctlKey,
} from "../../../lib/model/observed.ts";
import type { Reason } from "../../../lib/model/status.ts";
import type { Chain } from "../../../lib/netfilter/chain.ts";
import { parseIptablesChains } from "../../../lib/netfilter/iptables-chains.ts";
import { policyChains } from "../../../lib/netfilter/policy-chains.ts";
import type { XfrmPolicy } from "../../../lib/netlink/xfrm-policies.ts";
import { byFilterTable } from "../../../lib/nftables/filter-table-names.ts";
import { netfilterContextOf } from "../../../lib/plan/iptables/netfilter-context.ts";
import type { IptablesObserved } from "../../../lib/plan/iptables/observed.ts";
import { createIptablesPlanner } from "../../../lib/plan/iptables/planner.ts";
import { mainTable } from "../../../lib/plan/network/routes.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import { type Snapshot, unknownFacts } from "../../../lib/plan/plan-input.ts";
import type { NextHop } from "../../../lib/plan/reach/next-hops.ts";
import { type PlainSet, World } from "../admission.ts";
import { device, fail, toIp } from "../network-values.ts";
import { noDefaultBlocks } from "../policies.ts";

export interface Sample {
  readonly set?: PlainSet;
  /** The rules of the nat table's chains, without `-A`. */
  readonly nat?: Readonly<Record<string, readonly string[]>>;
  /** As iptables-save prints tables of another tool. */
  readonly foreign?: string;
  readonly policies?: readonly XfrmPolicy[];
  readonly routes?: readonly string[];
  readonly policyRules?: readonly Partial<PolicyRule>[];
  /** `net1 203.0.113.10/24`. */
  readonly addresses?: readonly string[];
  readonly sysctls?: Readonly<Record<string, number>>;
  readonly links?: readonly Partial<ObservedLink>[];
  readonly silent?: readonly string[];
  readonly isGateClosed?: boolean;
  readonly flows?: readonly Flow[];
  readonly reasons?: Readonly<Record<string, Reason>>;
}

export const sampleSet: PlainSet = {
  generation: 1,
  gateway: { defaultGateway: "203.0.113.1" },
  eips: [10, 11, 12].map((host) => ({ name: `eip-${host}`, address: `203.0.113.${host}/24` })),
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  snats: [{ name: "snat", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
  dnats: [
    {
      name: "web",
      eip: "eip-11",
      protocol: "tcp",
      externalPort: 8080,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
    {
      name: "vain",
      eip: "eip-10",
      protocol: "tcp",
      externalPort: 80,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
  ],
};

export const sampleNat: Readonly<Record<string, readonly string[]>> = {
  PREROUTING: ["-j DNAT_FILTER"],
  POSTROUTING: ["-j SNAT_FILTER"],
  DNAT_FILTER: ["-j EXCLUSIVE_DNAT", "-j SHARED_DNAT"],
  SNAT_FILTER: ["-j EXCLUSIVE_SNAT", "-j SHARED_SNAT", "-j HAIRPIN_SNAT"],
  EXCLUSIVE_DNAT: ["-d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5"],
  EXCLUSIVE_SNAT: ["-s 10.0.1.5/32 -j SNAT --to-source 203.0.113.10"],
  SHARED_DNAT: ["-d 203.0.113.11/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.6:80"],
  SHARED_SNAT: ["-s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.11 --random-fully"],
  HAIRPIN_SNAT: [10, 11, 12].map(
    (host) =>
      `-o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst 203.0.113.${host} -j SNAT --to-source 203.0.113.${host} --random-fully`,
  ),
};

const sampleAddresses = [
  "eth0 10.0.1.254/24",
  "net1 203.0.113.254/24",
  "net1 203.0.113.10/24",
  "net1 203.0.113.11/24",
  "net1 203.0.113.12/24",
];
export const sampleRoutes = [
  "default via 203.0.113.1 dev net1",
  "10.0.1.0/24 dev eth0",
  "203.0.113.0/24 dev net1",
  "10.0.0.0/8 via 10.0.1.1 dev eth0",
];

/** What is said of a packet: `10.0.1.5:1000 > 198.51.100.7:80 tcp`, or `* > 203.0.113.10:80 udp`. */
export function explainSample(sample: Sample, packet: string): Promise<Explanation> {
  const [, from = "", sourcePort, to = "", port, protocol = "tcp"] =
    /^(\S+?)(?::(\d+))? > (\S+?)(?::(\d+))?(?: (\w+))?$/.exec(packet) ?? fail(packet);
  const question: Question = {
    from: from === "*" ? undefined : toIp(from),
    to: toIp(to),
    protocol: protocol as Question["protocol"],
    port: port === undefined ? undefined : Number(port),
    sourcePort: sourcePort === undefined ? undefined : Number(sourcePort),
  };
  const world = new World();
  world.set(sample.set ?? sampleSet);
  const { state } = world;
  const { program } = compile(state.desired, quiet);
  const rules = rulesOf(sample);
  const network = networkOf(sample);
  const snapshot: Snapshot = {
    facts: {
      ...unknownFacts,
      network,
      netfilterContext: runSync(netfilterContextOf(rules, ipv4)),
    },
    observed: new Map<never, unknown>([
      ["rule" as never, rules],
      ["netfilter" as never, { tables: [], chains: [], foreign: foreignOf(sample) }],
      ["reach" as never, { network, paths: pathsOf(sample), silentHops: silentOf(sample) }],
    ]),
    unread: new Map(),
  };
  const { flows = [] } = sample;
  const explanations = new Explanations(
    {
      store: { current: state },
      conntrack: {
        async find(matches: FlowPredicate) {
          const found = flows.filter((flow) => matches(viewOf(flow, ipv4)));
          return { flows: found, total: found.length };
        },
      },
      dataplane: { ownRules: iptablesRules as never, planner: createIptablesPlanner(ipv4) as never },
    },
    { observe: async () => snapshot, preview: async () => ({ program }) as Plan },
  );
  const reasonOf: ReasonOf = (id) => {
    const reason = sample.reasons?.[id];
    return reason && { reason, message: "as the test says" };
  };
  return explanations.run(question, reasonOf, AbortSignal.timeout(10_000));
}

const quiet: CompileContext = {
  family: ipv4,
  vpcInterface: device("eth0"),
  externalInterface: device("net1"),
  fallbackGateway: undefined,
  ownAddresses: new Set([toIp("203.0.113.254"), toIp("10.0.1.254")]),
  connectedSubnets: [],
  missingInterfaces: new Set<InterfaceName>(),
  expiredLeases: new Set(),
  probing: new Set(),
  addressConflicts: new Map(),
  quarantined: new Map(),
};

function rulesOf({ nat = sampleNat, isGateClosed = false }: Sample): IptablesObserved {
  const chains = Object.keys(nat).map(
    (chain) => `:${chain} ${chain.endsWith("ROUTING") ? "ACCEPT" : "-"} [0:0]`,
  );
  const lines = Object.entries(nat).flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}`));
  const mangle =
    "*mangle\n:PREROUTING ACCEPT [0:0]\n:VPC_MARK - [0:0]\n-A PREROUTING -j VPC_MARK\n-A VPC_MARK -i eth0 -j MARK --set-xmark 0x1/0x1\nCOMMIT\n";
  const text = `*nat\n${[...chains, ...lines].join("\n")}\nCOMMIT\n${mangle}`;
  const gate = isGateClosed ? ["table", "rule of the gate"] : undefined;
  return {
    variant: "nft",
    rules: parseSave(text, ipv4),
    filterTables: { definitions: { ...byFilterTable(() => undefined), gate }, elements: {} as never },
  };
}

function foreignOf({ foreign = "", policies = [] }: Sample): readonly Chain[] {
  return [
    ...parseIptablesChains(foreign, "iptables-nft", () => false),
    ...policyChains({ policies, defaultBlocks: noDefaultBlocks }, () => undefined),
  ];
}

function networkOf({
  addresses = sampleAddresses,
  routes = sampleRoutes,
  sysctls = {},
  links = [],
}: Sample): ObservedNetwork {
  const link = (name: string, index: number): ObservedLink => ({
    index,
    name: device(name),
    mac: "02:00:00:00:00:01",
    isUp: true,
    hasCarrier: true,
    ...links.find((one) => one.name === name),
  });
  return {
    links: [link("eth0", 2), link("net1", 3)],
    addresses: addresses.map((text) => {
      const [, name = "", address = "", length] = /^(\S+) (\S+)\/(\d+)$/.exec(text) ?? fail(text);
      return {
        interface: device(name),
        address: toIp(address),
        prefixLength: Number(length),
        isSecondary: false,
        label: "",
      };
    }),
    routes: routes.map(routeOf),
    sysctls: new Map(Object.entries({ "net.ipv4.ip_forward": 1, ...sysctls }) as [SysctlKey, number][]),
  };
}

function routeOf(text: string): ObservedRoute {
  const [, type = "unicast", destination = "", via, name] =
    /^(?:(blackhole|unreachable|prohibit) )?(\S+)(?: via (\S+))?(?: dev (\S+))?$/.exec(text) ?? fail(text);
  return {
    table: mainTable,
    type: type as ObservedRoute["type"],
    destination: parseCidr(destination === "default" ? "0.0.0.0/0" : destination) ?? fail(text),
    via: via === undefined ? undefined : toIp(via),
    interface: name === undefined ? undefined : device(name),
    protocol: 3,
    metric: 0,
    isOnlink: false,
  };
}

function pathsOf({ policyRules = [] }: Sample) {
  const bare = { source: undefined, destination: undefined, inInterface: undefined, outInterface: undefined };
  const make = (more: Partial<PolicyRule>): PolicyRule => ({
    priority: 100,
    action: { kind: "blackhole" },
    ...bare,
    isInverted: false,
    hasMore: false,
    text: "",
    ...more,
  });
  const main = make({ priority: 32_766, action: { kind: "lookup", table: mainTable } });
  return { rules: [...policyRules.map(make), main], tables: new Map() };
}

function silentOf({ silent = [] }: Sample): readonly NextHop[] {
  return silent.map((via) => ({ via: toIp(via), interface: device("net1"), index: 3 }));
}
