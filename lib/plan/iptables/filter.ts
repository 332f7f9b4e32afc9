/**
 * Guard and gates if the kernel lacks nf_tables, as chains of the filter table, where an operator looks for what drops packets:
 *
 *     FORWARD > NATGW_GATE     while it is closed: all from the VPC to the outside
 *             > NATGW_GUARD    what is INVALID > NATGW_FIPS, NATGW_BACKENDS, NATGW_CLIENTS > NATGW_DROP_OUT
 *                              what was DNATed and leaves again > NATGW_TO_FIPS, NATGW_TO_BACKENDS > NATGW_DROP_AWAY
 *     INPUT   > NATGW_API      what is for the API's ports and not from loopback > NATGW_API_IN, which drops what is not named
 *             > NATGW_BFD_IN   while BFD's gate is closed: BFD from the VPC
 *             > NATGW_INPUT    what is INVALID > NATGW_EIPS > NATGW_DROP_IN
 *     OUTPUT  > NATGW_BFD_OUT  while BFD's gate is closed: BFD to the VPC
 *     NATGW_SET                empty: a set was accepted, although nothing else may tell it
 *
 * NATGW_FIPS and so on have a rule for each source or address. The last chains have one rule each: it counts what is dropped.
 * They must be the first in their hooks, since an ACCEPT ahead of them would be a hole. Only packets that are INVALID, or that
 * a wrong route leads out again, are looked for among objects, however many these are.
 */
import { type Chunked, forEachChunked, mapChunked, runSync } from "../../chunked.ts";
import { hostMask } from "../../iptables/masked.ts";
import { appendRule, deleteRule, insertRule, resetChain, restoreInput } from "../../iptables/restore.ts";
import { jumpTarget, jumpTo, makeRule, type Rule, type RuleSpec } from "../../iptables/rule.ts";
import type { TableRules } from "../../iptables/save.ts";
import type { ApiGuard } from "../../model/api-guard.ts";
import type { Change } from "../../model/change.ts";
import { familyOf, parseIp } from "../../model/families.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { Counted } from "../../nftables/definition-messages.ts";
import { bfdPorts } from "../../nftables/filter-table-rules.ts";
import type { DropCounter, DropCounts } from "../../nftables/filter-tables.ts";
import type { GuardElements } from "../../nftables/sets.ts";
import { outsideInterfaces } from "../gate/filter-tables.ts";
import type { GateContext } from "../gate-state.ts";
import type { GuardDifference } from "../guard.ts";
import {
  dropChains,
  guardedEips,
  guardedSources,
  guardedTargets,
  guardRule,
  guardRules,
  lookedAtOnce,
  objectChains,
  surplusRules,
} from "./guard-chains.ts";
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
  const to = (chain: string) => ({ ctState: "INVALID", target: jumpTarget(chain) }) as const;
  const gate = chain(
    "NATGW_GATE",
    outside.map((ways) => makeRule({ ...ways, target: drop })),
  );
  const guard = chain("NATGW_GUARD", [
    ...outside.flatMap((ways) => guardedSources.map(({ chain }) => makeRule({ ...ways, ...to(chain) }))),
    ...outside.flatMap(({ outInterface }) =>
      guardedTargets.map(({ chain }) =>
        makeRule({ outInterface, ctState: "DNAT", ctDirection: "ORIGINAL", target: jumpTarget(chain) }),
      ),
    ),
  ]);
  const input = chain("NATGW_INPUT", [makeRule(to(guardedEips.chain))]);
  const objects: WantedChain[] = [];
  for (const one of objectChains) {
    const wanted = yield* guardRules(one, guarded);
    const surplus = yield* surplusRules(one, wanted, held);
    const rules = yield* mapChunked([...wanted, ...surplus], lookedAtOnce, (rule) => ({ rule }));
    objects.push({ name: one.chain, order: "any", rules });
  }
  const ends = dropChains.map((name) => chain(name, [makeRule({ target: drop })]));
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
  const inInterface = "lo" as InterfaceName;
  const allowed = open.flatMap(({ interface: name, address, port }) => {
    const ip = parseIp(address);
    if (ip === undefined) return [];
    const destination = hostMask(ip, familyOf(ip));
    const spec = { destination, inInterface: name, protocol, destinationPort: port };
    return [makeRule({ ...spec, target: jumpTarget("RETURN") })];
  });
  return {
    first: chain("NATGW_API", [
      makeRule({ inInterface, target: jumpTarget("RETURN") }),
      ...ports.map((port) =>
        makeRule({ protocol, destinationPort: port, target: jumpTarget("NATGW_API_IN") }),
      ),
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
  for (const one of objectChains) {
    const surplus = yield* surplusRules(one, yield* guardRules(one, guarded), held);
    yield* forEachChunked(surplus, lookedAtOnce, (rule) => {
      changes.push({ action: "remove", subsystem: "guard", text: deleteRule(one.chain, rule) });
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
  ["NATGW_DROP_AWAY", "guard_misrouted_ingress"],
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
  for (const one of objectChains) {
    for (const key of remove[one.set]) {
      const held = find(one.chain, guardRule(one, key).text);
      if (held !== undefined) note("remove", deleteRule(one.chain, held));
    }
    for (const key of add[one.set]) note("add", appendRule(one.chain, guardRule(one, key)));
  }
  return tablePlan(changes);
}

function tablePlan(changes: readonly Change[]): TablePlan {
  const lines = changes.map(({ text }) => text);
  return { table: "filter", input: lines.length === 0 ? undefined : restoreInput("filter", lines), changes };
}
