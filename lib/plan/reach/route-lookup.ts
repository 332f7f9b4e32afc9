/**
 * Finds the route of packets: policy routing rules in order, and in each table the longest prefix with the lowest
 * metric. A rule with a condition that is unknown for the packets gives an alternative: a route that some of them may take.
 */
import { type Chunked, everyNth } from "../../chunked.ts";
import { PrefixTable } from "../../conntrack/prefix-table.ts";
import type { AddressKey, AddressValue, Family } from "../../model/family.ts";
import { type Cidr, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, ObservedPaths, ObservedRoute, PolicyRule } from "../../model/observed.ts";
import { localTable } from "../network/bindings.ts";
import { mainTable } from "../network/routes.ts";

/** Packets that routing treats alike. */
export interface Packets {
  readonly inInterface: InterfaceName;
  /** `undefined`: any source. */
  readonly source: Cidr | undefined;
  /** `undefined`: the Internet in general, which only a default route covers. */
  readonly destination: AddressValue | undefined;
}

export interface RouteChoice {
  /** `undefined`: no route. */
  readonly route: ObservedRoute | undefined;
  /** The rule that selected the route, unless it is one that every system has. */
  readonly rule: PolicyRule | undefined;
  /** Routes that some of the packets may take. */
  readonly alternatives: readonly Pick<RouteChoice, "route" | "rule">[];
}

/** A subnet that an address of the gateway connects. */
export interface BroadcastDomain {
  readonly cidr: Cidr;
  readonly interface: InterfaceName;
}

export interface RouteLookup {
  /** For packets to an address that is not the gateway's own. */
  of(packets: Packets): RouteChoice;
  /** True for the gateway's own addresses, including EIPs. */
  isLocal(address: AddressValue): boolean;
  /** The subnet of which the address is the broadcast address: packets to it are not forwarded. */
  broadcastOf(address: AddressValue): BroadcastDomain | undefined;
  /** A route that another program added to the local table for this address alone and that hides the kernel's own. */
  hiding(address: AddressValue): ObservedRoute | undefined;
  /** What rules ahead of the one for the local table decide, so that the address is not the gateway's own. */
  beforeLocal(packets: Packets): RouteChoice | undefined;
  /** What only the main table decides, as if the rules used no other one. */
  inMain(packets: Packets): ObservedRoute | undefined;
  /** False if no rule uses the local table: then nothing is the gateway's own address. */
  readonly usesLocal: boolean;
  /** True if only the rules of every system exist. Then the main table decides everything. */
  readonly isPlain: boolean;
}

/** Takes a few milliseconds. */
const notedAtOnce = 4_000;

export function* compileRouteLookup(
  network: ObservedNetwork,
  paths: ObservedPaths,
  family: Family,
): Chunked<RouteLookup> {
  const { keyOf, toValue, rangeOf } = family;
  const local = new Set<AddressKey>();
  const broadcasts = new Map<AddressKey, BroadcastDomain>();
  const isDue = everyNth(notedAtOnce);
  for (const { address, prefixLength, isSecondary, interface: name } of network.addresses) {
    if (isDue()) yield;
    local.add(keyOf(toValue(address)));
    if (isSecondary || prefixLength === family.bits) continue;
    const cidr = family.makeCidr(address, prefixLength);
    const broadcast = family.reservedOf(cidr)?.broadcast;
    if (broadcast !== undefined) broadcasts.set(keyOf(toValue(broadcast)), { cidr, interface: name });
  }
  for (const { type, destination } of network.routes) {
    if (isDue()) yield;
    if (type === "local") local.add(keyOf(rangeOf(destination)[0]));
  }
  const foreign = paths.tables.get(localTable) ?? [];
  for (const { type, destination } of foreign)
    if (type === "local" && prefixLengthOf(destination) === family.bits)
      local.add(keyOf(rangeOf(destination)[0]));
  const tables = new Map([[mainTable, yield* tableOf(network.routes, mainTable, family)]]);
  for (const [number, routes] of paths.tables) tables.set(number, yield* tableOf(routes, number, family));
  const rules = paths.rules.filter(mayRoute);
  const isUsed = (table: number) => rules.some(({ action }) => isLookup(action, table));
  const firstLocal = rules.findIndex(({ action }) => isLookup(action, localTable));
  const earlier = rules.slice(0, Math.max(0, firstLocal));
  const isPlain =
    paths.rules.length === 0 || (rules.every(isDefaultRule) && isUsed(mainTable) && foreign.length === 0);
  const inMain = (packets: Packets) => lookUp(tables.get(mainTable), packets, family);

  return {
    isPlain,
    inMain,
    usesLocal: paths.rules.length === 0 || isUsed(localTable),
    hiding(destination) {
      const route = tables.get(localTable)?.longest(destination);
      const isHiding = route?.type !== "local" && route?.destination.endsWith(family.hostSuffix);
      return isHiding ? route : undefined;
    },
    beforeLocal(packets) {
      const choice = earlier.length === 0 ? undefined : follow(earlier, tables, packets, family);
      return choice?.rule === undefined || choice.route?.type === "local" ? undefined : choice;
    },
    isLocal: (address) => local.has(keyOf(address)),
    broadcastOf: (address) => broadcasts.get(keyOf(address)),
    of: (packets) =>
      isPlain
        ? {
            route: inMain(packets),
            rule: undefined,
            alternatives: noAlternatives,
          }
        : follow(rules, tables, packets, family),
  };
}

const noAlternatives: RouteChoice["alternatives"] = [];

/** The rule for bound sockets never applies here. */
function mayRoute({ action, outInterface, inInterface }: PolicyRule): boolean {
  return action.kind !== "none" && outInterface === undefined && inInterface !== "lo";
}

function isLookup(action: PolicyRule["action"], table: number): boolean {
  return action.kind === "lookup" && action.table === table;
}

const standard: ReadonlyMap<number, number> = new Map([
  [0, localTable],
  [32_766, mainTable],
  [32_767, 253],
]);

function isDefaultRule({ priority, action, source, destination, ...rule }: PolicyRule): boolean {
  const isBare = source === undefined && destination === undefined && rule.inInterface === undefined;
  const table = action.kind === "lookup" ? action.table : undefined;
  return (
    isBare &&
    !rule.hasMore &&
    !rule.isInverted &&
    rule.suppressedPrefix === undefined &&
    table !== undefined &&
    standard.get(priority) === table
  );
}

function follow(
  rules: readonly PolicyRule[],
  tables: ReadonlyMap<number, PrefixTable<ObservedRoute>>,
  packets: Packets,
  family: Family,
): RouteChoice {
  const alternatives: Pick<RouteChoice, "route" | "rule">[] = [];
  let from = 0;
  for (const rule of rules) {
    if (rule.priority < from) continue;
    const share = shareOf(rule, packets, family);
    if (share === "none") continue;
    const { action } = rule;
    if (action.kind === "goto") {
      if (share === "all") from = action.priority;
      else alternatives.push({ route: undefined, rule });
      continue;
    }
    const found = action.kind === "lookup" ? lookUp(tables.get(action.table), packets, family) : undefined;
    const route = found === undefined || isSuppressed(found, rule) ? undefined : found;
    const isAnswer = action.kind === "lookup" ? route !== undefined && route.type !== "throw" : true;
    if (!isAnswer) continue;
    if (share === "all" && !isHidden(route, tables, packets, family))
      return { route, rule: isDefaultRule(rule) ? undefined : rule, alternatives };
    alternatives.push({ route, rule });
  }
  return { route: undefined, rule: undefined, alternatives };
}

/** A route that refuses packets is an answer, however short its prefix is. */
function isSuppressed({ type, destination }: ObservedRoute, { suppressedPrefix }: PolicyRule): boolean {
  const isRefusing = type === "blackhole" || type === "unreachable" || type === "prohibit";
  return suppressedPrefix !== undefined && !isRefusing && prefixLengthOf(destination) <= suppressedPrefix;
}

/**
 * True for a route of the local table if the main one has a longer prefix. The kernel keeps both in one trie until the
 * first rule is added, and then the longer prefix wins.
 */
function isHidden(
  route: ObservedRoute | undefined,
  tables: ReadonlyMap<number, PrefixTable<ObservedRoute>>,
  packets: Packets,
  family: Family,
): boolean {
  if (route?.table !== localTable) return false;
  const other = lookUp(tables.get(mainTable), packets, family);
  return other !== undefined && prefixLengthOf(other.destination) > prefixLengthOf(route.destination);
}

/** How many of the packets a rule matches. */
function shareOf(rule: PolicyRule, packets: Packets, family: Family): "all" | "some" | "none" {
  const { inInterface, source, destination, isInverted, hasMore } = rule;
  const shares = [
    inInterface === undefined || inInterface === packets.inInterface ? "all" : "none",
    source === undefined ? "all" : shareWithin(source, packets.source, family),
    destination === undefined || prefixLengthOf(destination) === 0
      ? "all"
      : packets.destination === undefined
        ? "some"
        : family.contains(destination, family.format(packets.destination))
          ? "all"
          : "none",
    hasMore ? "some" : "all",
  ] as const;
  const share = shares.includes("none") ? "none" : shares.includes("some") ? "some" : "all";
  if (!isInverted || share === "some") return share;
  return share === "all" ? "none" : "all";
}

/** How many of `sources` are in `network`. */
function shareWithin(network: Cidr, sources: Cidr | undefined, { rangeOf }: Family): "all" | "some" | "none" {
  if (prefixLengthOf(network) === 0) return "all";
  if (sources === undefined) return "some";
  const [first, last] = rangeOf(network);
  const [from, to] = rangeOf(sources);
  if (from >= first && to <= last) return "all";
  return to < first || from > last ? "none" : "some";
}

function lookUp(table: PrefixTable<ObservedRoute> | undefined, { destination }: Packets, { zero }: Family) {
  // A lookup of the unspecified address (0.0.0.0) finds the default route, because no other route contains it.
  return table?.longest(destination ?? zero);
}

function* tableOf(
  routes: readonly ObservedRoute[],
  number: number,
  family: Family,
): Chunked<PrefixTable<ObservedRoute>> {
  const isDue = everyNth(notedAtOnce);
  const best = new Map<Cidr, ObservedRoute>();
  for (const route of routes) {
    if (isDue()) yield;
    if (route.table !== number) continue;
    const known = best.get(route.destination);
    if (known === undefined || route.metric < known.metric) best.set(route.destination, route);
  }
  const table = new PrefixTable<ObservedRoute>(family);
  for (const route of best.values()) {
    if (isDue()) yield;
    table.set(route.destination, route);
  }
  return table;
}
