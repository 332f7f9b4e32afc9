/**
 * Guard and gates if the kernel lacks nf_tables, as chains of the filter table, where an operator looks for what drops packets:
 *
 *     FORWARD > NATGW_GATE     while it is closed: all from the VPC to the outside
 *             > NATGW_GUARD    what is INVALID > NATGW_FIPS, NATGW_BACKENDS, NATGW_CLIENTS > NATGW_DROP_OUT
 *     INPUT   > NATGW_API      what is for the API's ports and not from loopback > NATGW_API_IN, which drops what is not named
 *             > NATGW_BFD_IN   while BFD's gate is closed: BFD from the VPC
 *             > NATGW_INPUT    what is INVALID > NATGW_EIPS > NATGW_DROP_IN
 *     OUTPUT  > NATGW_BFD_OUT  while BFD's gate is closed: BFD to the VPC
 *     NATGW_SET                empty: a set was accepted, although nothing else may tell it
 *
 * NATGW_FIPS and so on have a rule for each source or address. The last chains have one rule each: it counts what is dropped.
 * They must be the first in their hooks, since an ACCEPT ahead of them would be a hole. Only packets that are INVALID are
 * looked for among objects, however many these are.
 */
import { type Chunked, filterChunked, forEachChunked, mapChunked, runSync } from "../../chunked.ts";
import { hostMask, parseMasked } from "../../iptables/masked.ts";
import { appendRule, deleteRule, insertRule, resetChain, restoreInput } from "../../iptables/restore.ts";
import { jumpTo, makeRule, type Rule, type RuleSpec } from "../../iptables/rule.ts";
import type { TableRules } from "../../iptables/save.ts";
import type { ApiGuard } from "../../model/api-guard.ts";
import type { Change } from "../../model/change.ts";
import { familyOf, parseIp } from "../../model/families.ts";
import type { Ip } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { Protocol } from "../../model/schema.ts";
import type { DropCounter, DropCounts } from "../../nftables/barrier.ts";
import { bfdPorts } from "../../nftables/barrier-rules.ts";
import type { Counted } from "../../nftables/frame-messages.ts";
import { type GuardElements, type GuardSet, guardSetNames } from "../../nftables/sets.ts";
import { outsideInterfaces } from "../gate/barrier.ts";
import type { GateContext } from "../gate-state.ts";
import type { GuardDifference } from "../guard.ts";
import { type WantedChain, type WantedTable, wantedAbsent } from "./layout.ts";
import type { FindRule } from "./part.ts";
import type { TablePlan } from "./table.ts";

/**
 * The guard and each gate that is closed. In filter the gate cannot tell what will be translated, since SNAT comes later.
 *
 * @param held the guard's chains as read: their rules stay until the NAT rules that they guard are deleted
 */
export function wantedFilter(...given: Parameters<typeof wantedFilterChunked>): WantedTable {
  return runSync(wantedFilterChunked(...given));
}

/** The same in parts. */
export function* wantedFilterChunked(
  program: Program,
  guarded: GuardElements,
  gates: GateContext,
  held: TableRules = new Map(),
): Chunked<WantedTable> {
  const between = (outInterface: InterfaceName) => ({ inInterface: program.vpcInterface, outInterface });
  const outside = (yield* outsideInterfaces(program)).map(between);
  const drop = { kind: "drop" } as const;
  const to = (chain: string) => ({ ctState: "INVALID", target: { kind: "jump", chain } }) as const;
  const gate = chain(
    "NATGW_GATE",
    outside.map((ways) => makeRule({ ...ways, target: drop })),
  );
  const guard = chain(
    "NATGW_GUARD",
    outside.flatMap((ways) => sources.map((set) => makeRule({ ...ways, ...to(guardChain[set]) }))),
  );
  const input = chain("NATGW_INPUT", [makeRule(to(guardChain.eips))]);
  const objects: WantedChain[] = [];
  for (const set of guardSetNames) {
    const wanted = yield* guardRules(set, guarded);
    const surplus = yield* surplusRules(set, wanted, held);
    const rules = yield* mapChunked([...wanted, ...surplus], lookedAtOnce, (rule) => ({ rule }));
    objects.push({ name: guardChain[set], order: "any", rules });
  }
  const ends = [
    chain("NATGW_DROP_OUT", [makeRule({ target: drop })]),
    chain("NATGW_DROP_IN", [makeRule({ target: drop })]),
  ];
  const marker = chain("NATGW_SET", []);
  const isGateClosed = gates.gate === "closed";
  const isBfdClosed = gates.bfd === "closed";
  const bfd = (name: string, ways: Partial<RuleSpec>) =>
    chain(
      name,
      bfdPorts.map((destinationPort) =>
        makeRule({ ...ways, protocol: "udp", destinationPort, target: drop }),
      ),
    );
  // Until the first write the interfaces may still be others.
  const isNamed = gates.isSet !== false;
  const bfdIn = bfd("NATGW_BFD_IN", isNamed ? { inInterface: program.vpcInterface } : {});
  const bfdOut = bfd("NATGW_BFD_OUT", isNamed ? { outInterface: program.vpcInterface } : {});
  const forward = isGateClosed ? [gate, guard] : [guard];
  const api = gates.apiGuard && apiChains(gates.apiGuard);
  const toGateway = [api?.first, isBfdClosed ? bfdIn : undefined, input].filter((one) => one !== undefined);
  const fromGateway = isBfdClosed ? [bfdOut] : [];
  return {
    table: "filter",
    chains: [
      ...forward,
      ...toGateway,
      ...fromGateway,
      ...(api === undefined ? [] : [api.second]),
      ...objects,
      ...ends,
      ...(gates.isSet ? [marker] : []),
    ],
    hooks: [
      { chain: "FORWARD", position: "first", rules: forward.map(({ name }) => jumpTo(name)) },
      { chain: "INPUT", position: "first", rules: toGateway.map(({ name }) => jumpTo(name)) },
      { chain: "OUTPUT", position: "first", rules: fromGateway.map(({ name }) => jumpTo(name)) },
    ],
    absent: [
      ...(isGateClosed ? [] : [gate.name]),
      ...(isBfdClosed ? [] : [bfdIn.name, bfdOut.name]),
      ...(gates.isSet ? [] : [marker.name]),
    ],
  };
}

/** The chains that keep the API's ports closed: see lib/nftables/api-guard.ts. Listeners of another family do not open. */
export function apiChains({ ports, open }: ApiGuard) {
  const protocol = "tcp" as const;
  const jump = (to: string) => ({ kind: "jump", chain: to }) as const;
  const inInterface = "lo" as InterfaceName;
  const allowed = open.flatMap(({ interface: name, address, port }) => {
    const ip = parseIp(address);
    if (ip === undefined) return [];
    const destination = hostMask(ip, familyOf(ip));
    const spec = { destination, inInterface: name, protocol, destinationPort: port };
    return [makeRule({ ...spec, target: jump("RETURN") })];
  });
  return {
    first: chain("NATGW_API", [
      makeRule({ inInterface, target: jump("RETURN") }),
      ...ports.map((port) => makeRule({ protocol, destinationPort: port, target: jump("NATGW_API_IN") })),
    ]),
    second: chain("NATGW_API_IN", [
      makeRule({ ctState: "DNAT", target: { kind: "drop" } }),
      ...allowed,
      makeRule({ target: { kind: "drop" } }),
    ]),
  };
}

function chain(name: string, rules: readonly Rule[]): WantedChain {
  return { name, order: "exact", rules: rules.map((rule) => ({ rule })) };
}

/** The input that puts them first, whatever was there. @param input the rules of INPUT as read */
export function apiChainsInput(guard: ApiGuard, input: readonly Rule[]): string {
  const { first, second } = apiChains(guard);
  const jump = jumpTo(first.name);
  const made = [first, second].flatMap(({ name, rules }) => rules.map(({ rule }) => appendRule(name, rule)));
  return restoreInput("filter", [
    ...[first, second].map(({ name }) => resetChain(name)),
    ...made,
    ...input.filter(({ text }) => text === jump.text).map((rule) => deleteRule("INPUT", rule)),
    insertRule("INPUT", 1, jump),
  ]);
}

/** Deletes the rules of addresses that are no longer guarded. */
export function* planFilterRemovals(guarded: GuardElements, held: TableRules): Chunked<TablePlan> {
  const changes: Change[] = [];
  for (const set of guardSetNames) {
    const surplus = yield* surplusRules(set, yield* guardRules(set, guarded), held);
    yield* forEachChunked(surplus, lookedAtOnce, (rule) => {
      changes.push({ action: "remove", subsystem: "guard", text: deleteRule(guardChain[set], rule) });
    });
  }
  return tablePlan(changes);
}

/** What the rules that drop have counted, in a dump of filter with counters. */
export function parseDropCounts(dump: string): DropCounts {
  const counts = new Map<DropCounter, Counted>();
  for (const [, packets, bytes, chain = ""] of dump.matchAll(
    /^\[(\d+):(\d+)\] -A (\S+) (?:.* )?-j DROP$/gm,
  )) {
    const counter = counterOf.get(chain);
    const before = counter && counts.get(counter);
    if (counter !== undefined)
      counts.set(counter, {
        packets: Number(packets) + (before?.packets ?? 0),
        bytes: Number(bytes) + (before?.bytes ?? 0),
      });
  }
  return counts;
}

const counterOf: ReadonlyMap<string, DropCounter> = new Map([
  ["NATGW_DROP_OUT", "guard_invalid_egress"],
  ["NATGW_DROP_IN", "guard_invalid_ingress"],
  ["NATGW_GATE", "gate_egress"],
  ["NATGW_BFD_OUT", "gate_bfd_egress"],
  ["NATGW_BFD_IN", "gate_bfd_ingress"],
  ["NATGW_API_IN", "api_guard_ingress"],
]);

/** Nothing of the agent's in filter: guard and gates are nftables tables. */
export const wantedNoFilter: WantedTable = wantedAbsent("filter", ["FORWARD", "INPUT", "OUTPUT"]);

export function planFilterPart({ add, remove }: GuardDifference, find: FindRule): TablePlan {
  const changes: Change[] = [];
  const note = (action: "add" | "remove", text: string) => changes.push({ action, subsystem: "guard", text });
  for (const set of guardSetNames) {
    const chain = guardChain[set];
    for (const key of remove[set]) {
      const held = findGuard(set, key, find);
      if (held !== undefined) note("remove", deleteRule(chain, held));
    }
    for (const key of add[set]) note("add", appendRule(chain, guardRule(set, key)));
  }
  return tablePlan(changes);
}

function tablePlan(changes: readonly Change[]): TablePlan {
  const lines = changes.map(({ text }) => text);
  return { table: "filter", input: lines.length === 0 ? undefined : restoreInput("filter", lines), changes };
}

function guardRules(set: GuardSet, guarded: GuardElements): Chunked<readonly Rule[]> {
  return mapChunked(guarded[set].keys(), madeAtOnce, (key) => guardRule(set, key));
}

/** Rules that the guard made for addresses that it no longer guards. All other unwanted rules are drift. */
function* surplusRules(set: GuardSet, wanted: readonly Rule[], held: TableRules): Chunked<readonly Rule[]> {
  const rules = held.get(guardChain[set]) ?? [];
  if (rules.length === 0) return rules;
  const texts = new Set<string>();
  yield* forEachChunked(wanted, lookedAtOnce, ({ text }) => texts.add(text));
  const isOurs = ({ spec }: Rule) => spec?.target.kind === "jump" && spec.target.chain === endOf(set);
  return yield* filterChunked(rules, lookedAtOnce, (rule) => isOurs(rule) && !texts.has(rule.text));
}

/** Both take a few milliseconds. */
const madeAtOnce = 2_000;
const lookedAtOnce = 4_000;

/** The rule for element `key` of the guard's set, as read. */
export function findGuard(set: GuardSet, key: string, find: FindRule): Rule | undefined {
  return find(guardChain[set], guardRule(set, key).text);
}

/** The chain for each of the guard's sets. */
const guardChain = {
  fips: "NATGW_FIPS",
  backends: "NATGW_BACKENDS",
  clients: "NATGW_CLIENTS",
  eips: "NATGW_EIPS",
} as const satisfies Record<GuardSet, string>;

function endOf(set: GuardSet): string {
  return set === "eips" ? "NATGW_DROP_IN" : "NATGW_DROP_OUT";
}

const sources = ["fips", "backends", "clients"] as const;

/** The rule for element `key` of the guard's set. */
function guardRule(set: GuardSet, key: string): Rule {
  const target = { kind: "jump", chain: endOf(set) } as const;
  const [text = "", second = "", third] = key.split(" . ");
  const address = text as Ip;
  const family = familyOf(address);
  switch (set) {
    case "fips":
      return makeRule({ source: hostMask(address, family), target });
    case "eips":
      return makeRule({ destination: hostMask(address, family), target });
    case "backends":
      return makeRule({
        source: hostMask(address, family),
        protocol: second as Protocol,
        sourcePort: Number(third),
        target,
      });
    case "clients":
      return makeRule({ source: parseMasked(`${address}/${second}`, family), target });
  }
}
