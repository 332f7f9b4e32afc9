/** Inputs of a planning pipeline in sequences: states, readings and contexts that stay, change, and change back. */

import fc from "fast-check";
import type { Dataplane } from "../../../../agent/kernel/drivers.ts";
import type { Subsystem } from "../../../../agent/reconciler/subsystem.ts";
import { createSubsystems } from "../../../../agent/reconciler/subsystems/subsystems.ts";
import type { Flow } from "../../../../lib/conntrack/flow.ts";
import { type Memoizer, noMemory } from "../../../../lib/memoize.ts";
import type { SubsystemName } from "../../../../lib/model/change.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { GatewayConfig } from "../../../../lib/model/gateway-config.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { ledgerKey } from "../../../../lib/model/ledger.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../../../../lib/model/names.ts";
import type { ObservedNetwork, ObservedPaths } from "../../../../lib/model/observed.ts";
import type { Program } from "../../../../lib/model/program.ts";
import { parseIptablesChains } from "../../../../lib/netfilter/iptables-chains.ts";
import { noAccounting, type ObservedAccounting } from "../../../../lib/nftables/accounting.ts";
import { apiTableLines } from "../../../../lib/nftables/api-guard.ts";
import { definitionLines } from "../../../../lib/nftables/definition-lines.ts";
import { noQosTable } from "../../../../lib/nftables/qos.ts";
import type { AddressStep } from "../../../../lib/plan/address-plan.ts";
import type { ApiGuardObserved } from "../../../../lib/plan/api-guard/planner.ts";
import type { FlowsObserved } from "../../../../lib/plan/flows.ts";
import type { GateState } from "../../../../lib/plan/gate-state.ts";
import { wantedMangle, wantedNat } from "../../../../lib/plan/iptables/layout.ts";
import type { IptablesObserved } from "../../../../lib/plan/iptables/observed.ts";
import { createIptablesPlanner } from "../../../../lib/plan/iptables/planner.ts";
import { planTable } from "../../../../lib/plan/iptables/table.ts";
import type { NetfilterObserved } from "../../../../lib/plan/netfilter/observed.ts";
import type { RouteStep } from "../../../../lib/plan/network/routes.ts";
import type { SysctlStep } from "../../../../lib/plan/network/sysctls.ts";
import { wantedTable } from "../../../../lib/plan/nftables/layout.ts";
import type { NftablesObserved } from "../../../../lib/plan/nftables/observed.ts";
import { createNftablesPlanner } from "../../../../lib/plan/nftables/planner.ts";
import { nftablesRemoval } from "../../../../lib/plan/nftables/removal.ts";
import { allElements } from "../../../../lib/plan/nftables/table.ts";
import { plan } from "../../../../lib/plan/plan.ts";
import {
  type KernelFacts,
  type PlanContext,
  type Snapshot,
  unknownFacts,
} from "../../../../lib/plan/plan-input.ts";
import type { PreviousObserved } from "../../../../lib/plan/previous.ts";
import { nothingObserved, type QosObserved } from "../../../../lib/plan/qos/observed.ts";
import type { NextHop } from "../../../../lib/plan/reach/next-hops.ts";
import type { RulesPlanner } from "../../../../lib/plan/rules-planner.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../lib/state/state.ts";
import { noApi } from "../../../support/api-guard.ts";
import { filterTablesOf } from "../../../support/fake-filter-tables.ts";
import { fullSets } from "../../../support/model-kernel/arbitraries.ts";
import { Network } from "../../../support/model-kernel/network.ts";
import { hosts, interfaces, ip } from "../../../support/model-kernel/universe.ts";
import { decide } from "../../../support/model-kernel/writer.ts";
import { gatesOf } from "../../../support/with-gate.ts";
import { FakeTable } from "./iptables/packet-model.ts";

export interface RulesUnderTest<Observed = unknown> {
  readonly create: (memoizer: Memoizer) => RulesPlanner<Observed, never>;
  /** The reading of a kernel with the rules of a program, and its guard and gate. */
  readonly observed: (program: Program, gate: GateState) => Observed;
}

const iptables: RulesUnderTest<IptablesObserved> = {
  create: (memoizer) => createIptablesPlanner(ipv4, memoizer) as RulesPlanner<IptablesObserved, never>,
  observed(program, gate) {
    const tables = [wantedNat(program), wantedMangle(program)].map((wanted) => {
      const table = new FakeTable(wanted.table);
      table.restore(planTable(wanted, table.read()).input ?? "");
      return [wanted.table, table.read()] as const;
    });
    return { variant: "nft", rules: new Map(tables), filterTables: filterTablesOf(program, gatesOf(gate)) };
  },
};

const nftables: RulesUnderTest<NftablesObserved> = {
  create: (memoizer) => createNftablesPlanner(ipv4, memoizer) as RulesPlanner<NftablesObserved, never>,
  observed: (program, gate) => ({
    table: {
      definition: definitionLines(wantedTable(program).definition),
      elements: allElements(wantedTable(program)),
    },
    filterTables: filterTablesOf(program, gatesOf(gate)),
    foreign: [],
  }),
};

export const rulesUnderTest: Readonly<Record<string, RulesUnderTest>> = {
  iptables: iptables as RulesUnderTest,
  nftables: nftables as RulesUnderTest,
};

/** The subsystems of an agent. Nothing reads or writes: that would throw. */
export function subsystemsWith(planner: RulesPlanner<unknown, never>): readonly Subsystem[] {
  const unused = {} as never;
  const dataplane: Dataplane = { driver: unused, planner: planner as RulesPlanner };
  return createSubsystems({
    dataplane,
    previousDataplanes: unused,
    netfilter: unused,
    nextHops: unused,
    network: unused,
    conntrack: unused,
    qos: unused,
    accounting: unused,
    apiGuard: unused,
    clock: unused,
  }).subsystems;
}

const configs: readonly GatewayConfig[] = (["address", "route"] as const).map((eipBinding, at) => ({
  family: ipv4,
  vpcInterface: interfaces.vpc,
  externalInterface: interfaces.external,
  eipBinding,
  fallbackGateway: at === 0 ? ip(hosts.outside) : undefined,
  untranslated: at === 0 ? "forward" : "drop",
  isBfdGated: at === 1,
  apiGuard: noApi,
}));
const ours = ip("203.0.113.10");
const mac = "02:00:00:00:00:99";

type Whole = Required<PlanContext>;

/** The values of each part of the input. The first one is the usual one. Sets and maps are created anew each time. */
const contexts: { readonly [K in keyof Whole]: readonly [() => Whole[K], () => Whole[K]] } = {
  config: [() => configs[0] as GatewayConfig, () => configs[1] as GatewayConfig],
  gate: [() => "open", () => "closed"],
  bfd: [() => "open", () => "closed"],
  isSet: [() => false, () => true],
  isCleanupAllowed: [() => false, () => true],
  knownOwn: [() => new Set(), () => new Set([ours])],
  expiredLeases: [() => new Set(), () => new Set(["e0" as ObjectName])],
  probing: [() => new Set(), () => new Set([ours])],
  addressConflicts: [() => new Map(), () => new Map([[ours, mac]])],
  heldConflicts: [() => new Map(), () => new Map([[ours, mac]])],
  quarantined: [() => new Map(), () => new Map([["fips/f0" as ObjectId, "refused"]])],
};
const contextFields = Object.keys(contexts) as readonly (keyof PlanContext)[];
const usual = contextOf({});

function contextOf(picks: Readonly<Record<string, number>>): PlanContext {
  const of = <K extends keyof Whole>(field: K) => contexts[field][(picks[field] ?? 0) % 2 ? 1 : 0]();
  return {
    config: of("config"),
    gate: of("gate"),
    bfd: of("bfd"),
    isSet: of("isSet"),
    isCleanupAllowed: of("isCleanupAllowed"),
    knownOwn: of("knownOwn"),
    expiredLeases: of("expiredLeases"),
    probing: of("probing"),
    addressConflicts: of("addressConflicts"),
    heldConflicts: of("heldConflicts"),
    quarantined: of("quarantined"),
  };
}

/** Flows that objects permit, contradict and have nothing to do with, depending on the set. */
export const flows: readonly Flow[] = [
  flow("10.0.1.5", "203.0.113.1", "203.0.113.1", "203.0.113.10"),
  flow("10.0.1.6", "203.0.113.1", "203.0.113.1", "10.0.1.6"),
  flow("203.0.113.1", "203.0.113.10", "10.0.1.5", "203.0.113.1"),
  flow("203.0.113.1", "203.0.113.11", "203.0.113.11", "203.0.113.1"),
  flow("10.0.1.5", "203.0.113.12", "10.0.1.6", "203.0.113.12"),
];

function flow(source: string, destination: string, replySource: string, replyDestination: string): Flow {
  const ports = { sourcePort: 40_001, destinationPort: 80 };
  return {
    protocol: 6,
    original: { source: ip(source), destination: ip(destination), ...ports },
    reply: {
      source: ip(replySource),
      destination: ip(replyDestination),
      sourcePort: 80,
      destinationPort: 40_001,
    },
    status: 0,
    zone: 0,
    id: 1,
  };
}

const flowReadings: readonly FlowsObserved[] = [
  { isDue: false, remaining: [], shadowed: 0, unchecked: new Map() },
  {
    isDue: true,
    remaining: flows.slice(0, 3),
    shadowed: 2,
    unchecked: new Map([["fips/f1", "not looked at"]]),
  },
];
const previousReadings: readonly (readonly PreviousObserved[])[] = [
  [],
  [{ name: "nftables", planner: nftablesRemoval, observed: new Set(["natgw"]) }],
];

const pathReadings: readonly ObservedPaths[] = [
  { rules: [], tables: new Map() },
  { rules: [], tables: new Map([[7, []]]) },
];

const hopReadings: readonly (readonly NextHop[])[] = [
  [],
  [{ via: ip(hosts.outside), interface: interfaces.external, index: 2 }],
];

const netfilterReadings: readonly NetfilterObserved[] = [
  { tables: [], chains: [], foreign: [] },
  {
    tables: [{ label: "ip nat", isDormant: true }],
    chains: [],
    foreign: parseIptablesChains("*filter\n:FORWARD DROP [0:0]\n", "iptables-legacy", () => false),
  },
];

const apiReadings: readonly ApiGuardObserved[] = [
  { hasNftables: true, definition: apiTableLines(noApi) },
  { hasNftables: true, definition: undefined },
  { hasNftables: true, definition: ["table natgw_api"] },
  { hasNftables: false, definition: undefined },
];

const qosReadings: readonly QosObserved[] = [
  { ...nothingObserved, table: noQosTable },
  nothingObserved,
  {
    ...nothingObserved,
    table: { definition: ["table "], elements: new Map() },
    devices: new Map(
      [interfaces.vpc, interfaces.external].map((name) => [
        name,
        { alternativeNames: [], root: "ours", classes: new Map(), queues: new Map() },
      ]),
    ),
  },
];

/** A kernel that does not count, and two that do. */
const accountingReadings: readonly { readonly observed: ObservedAccounting | undefined }[] = [
  { observed: undefined },
  { observed: noAccounting },
  { observed: { definition: ["table "], eips: new Set(), strays: new Set() } },
];

/** The values that a sequence uses, made from two full sets. Each piece is one value, so that it can appear again. */
export interface Pool {
  readonly states: readonly State[];
  readonly networks: readonly ObservedNetwork[];
  readonly rules: readonly unknown[];
}

/** States that differ in one thing each, and kernels that match the first two. */
export function poolOf(first: State, second: State, under: RulesUnderTest): Pool {
  const named = [...first.desired.eips.values()][0]?.spec.address.split("/")[0] ?? ours;
  const entry = { interface: interfaces.external, address: named as Ip, prefixLength: 24 };
  const plain = subsystemsWith(under.create(noMemory));
  const settled = [first, second].map((state) => settle(state, plain));
  const [one, other] = settled.map(({ state }) => state);
  const states = [
    ...settled.map(({ state }) => state),
    ...(one && other ? [{ ...one, ledger: other.ledger }] : []),
    reduce(one ?? first, [{ type: "retire", address: ours }]),
    reduce(one ?? first, [
      { type: one?.ledger.addresses.has(ledgerKey(entry)) ? "ledger-remove" : "ledger-add", entry },
    ]),
  ];
  const bare = new Network([interfaces.vpc]).observe();
  const emptied = { ...emptyState, desired: { ...emptyState.desired } };
  const programs = [...settled, settle(emptied, plain)].map(({ program }) => program);
  const rules = programs.flatMap((program) => [
    under.observed(program, "open"),
    under.observed(program, "closed"),
  ]);
  return { states, networks: [...settled.map(({ network }) => network), bare], rules };
}

/** The network, the ledger and the program of a gateway at rest. */
function settle(given: State, subsystems: readonly Subsystem[]) {
  const network = new Network([interfaces.vpc, interfaces.external]);
  network.addAddress({ interface: interfaces.vpc, address: ip(hosts.vpc), prefixLength: 24 });
  network.addAddress({ interface: interfaces.external, address: ip(hosts.external), prefixLength: 24 });
  const planners = subsystems
    .map(({ planner }) => planner)
    .filter(({ name }) => ["sysctl", "address", "route"].includes(name));
  const look = (state: State) => {
    const observed = network.observe();
    const facts = { ...noFacts, network: observed };
    const readings = new Map(planners.map(({ name }) => [name, observed]));
    return plan(state, { facts, observed: readings, unread: new Map() }, usual, planners);
  };
  const { addresses, steps } = look(given);
  const entries = [...addresses.add.map(({ entry }) => entry), ...addresses.ledgerMissing];
  const state = reduce(
    given,
    entries.map((entry) => ({ type: "ledger-add", entry })),
  );
  for (const { subsystem, payload } of steps) {
    if (subsystem === "address") network.addAddress((payload as AddressStep).entry);
    else if (subsystem === "route") network.replaceRoute((payload as RouteStep).route);
    else network.setSysctl((payload as SysctlStep).key, (payload as SysctlStep).value);
  }
  return { state, network: network.observe(), program: look(state).program };
}

const noFacts: KernelFacts = {
  network: new Network([]).observe(),
  ...unknownFacts,
};

/** One input of both pipelines: the number of the value for each part. */
export type Question = Readonly<Record<string, number>>;
const dimensions = [
  "state",
  "network",
  "rules",
  "paths",
  "hops",
  "netfilter",
  "flows",
  "qos",
  "accounting",
  "api",
  "previous",
  "unread",
  "staleFacts",
] as const;

/** Little changes from one input to the next, and often it changes back to the usual value. */
export const questions: fc.Arbitrary<readonly Question[]> = fc
  .array(
    fc.tuple(fc.constantFrom<string>(...dimensions, ...contextFields), fc.oneof(fc.constant(0), fc.nat(5))),
    { minLength: 6, maxLength: 16 },
  )
  .map((moves) => {
    let question: Question = {};
    return [question, ...moves.map(([dimension, value]) => (question = { ...question, [dimension]: value }))];
  });

export function ask(
  question: Question,
  pool: Pool,
  subsystems: readonly Subsystem[],
): [State, Snapshot, PlanContext] {
  const pick = <T>(values: readonly T[], dimension: string): T => {
    const value = values[(question[dimension] ?? 0) % values.length];
    if (value === undefined) throw new TypeError(`nothing to pick for ${dimension}`);
    return value;
  };
  const network = pick(pool.networks, "network");
  const rules = pick(pool.rules, "rules");
  const readings: Readonly<Record<SubsystemName, unknown>> = {
    sysctl: network,
    address: network,
    route: network,
    rule: rules,
    gate: rules,
    reach: { network, paths: pick(pathReadings, "paths"), silentHops: pick(hopReadings, "hops") },
    netfilter: pick(netfilterReadings, "netfilter"),
    flow: pick(flowReadings, "flows"),
    qos: pick(qosReadings, "qos"),
    accounting: pick(accountingReadings, "accounting").observed,
    api: pick(apiReadings, "api"),
    previous: pick(previousReadings, "previous"),
  };
  const unread = pick<SubsystemName | "none">(["none", "none", "rule", "gate", "route", "flow"], "unread");
  // The facts of the last reading of the rules stay while they cannot be read.
  const told = { ...readings, rule: unread === "rule" ? pick(pool.rules, "staleFacts") : rules };
  const facts = subsystems.map((subsystem) => subsystem.facts?.(told[subsystem.planner.name]));
  const snapshot: Snapshot = {
    facts: Object.assign({ ...noFacts }, ...facts),
    observed: new Map(
      subsystems
        .map(({ planner: { name } }) => [name, readings[name]] as const)
        .filter(([name]) => name !== unread),
    ),
    unread: new Map(unread === "none" ? [] : [[unread, new GatewayError("unreadable", "cut short")]]),
  };
  return [pick(pool.states, "state"), snapshot, contextOf(question)];
}

/** States after one accepted full set. */
export const states = fullSets({ leases: true }, 4).map((write) =>
  reduce(
    emptyState,
    decide(
      write,
      emptyState,
      {
        now: { bootId: "", bootMs: 0, wallMs: 0 },
        facts: {
          vpcInterface: "eth0" as InterfaceName,
          externalInterface: "net1" as InterfaceName,
          ownAddresses: new Set(),
          connectedSubnets: undefined,
          fallbackGateway: undefined,
        },
        isUnadopted: false,
        digest: (text) => text,
      },
      () => 1,
    ).changes,
  ),
);
