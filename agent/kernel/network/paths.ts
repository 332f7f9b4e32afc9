/** Reads what decides the path of packets besides the main table: policy routing rules and the tables they use. */
import { stabilize } from "../../../lib/memoize.ts";
import type { Family } from "../../../lib/model/family.ts";
import type {
  ObservedNetwork,
  ObservedPaths,
  ObservedRoute,
  PolicyRule,
} from "../../../lib/model/observed.ts";
import { dumpRoutes, newRoute } from "../../../lib/netlink/rtnetlink-routes.ts";
import { decodePolicyRule, dumpPolicyRules, newPolicyRule } from "../../../lib/netlink/rtnetlink-rules.ts";
import { localTable } from "../../../lib/plan/network/bindings.ts";
import { mainTable } from "../../../lib/plan/network/routes.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";
import { orAbsent } from "../netlink/refusal.ts";
import { decodeNamedRoute, type LinkNames, linkNames } from "./observe.ts";

/** Unchanged readings keep their identity. */
export class PathReader {
  readonly #netlink: NetlinkConnection;
  readonly #family: Family;
  readonly #keepRules = stabilize<readonly PolicyRule[]>(isSameJson);
  readonly #keep = stabilize(isSamePaths);

  constructor(netlink: NetlinkConnection, family: Family) {
    this.#netlink = netlink;
    this.#family = family;
  }

  async read({ links, foreignLocal }: ObservedNetwork, signal: AbortSignal): Promise<ObservedPaths> {
    const rules = await this.#readRules(signal);
    const tables = new Map<number, readonly ObservedRoute[]>();
    const names = linkNames(links);
    for (const table of tablesNamed(rules)) tables.set(table, await this.#readTable(table, names, signal));
    const effective = await this.#effective(foreignLocal ?? noRoutes, names, signal);
    if (effective.length > 0) tables.set(localTable, effective);
    return this.#keep({ rules, tables });
  }

  /** Of those that refuse one address, only the ones ahead of other routes for it: the kernel keeps the table in that order. */
  async #effective(
    routes: readonly ObservedRoute[],
    names: LinkNames,
    signal: AbortSignal,
  ): Promise<readonly ObservedRoute[]> {
    const isRefusing = ({ type, destination }: ObservedRoute) =>
      type !== "local" && destination.endsWith(this.#family.hostSuffix);
    if (!routes.some(isRefusing)) return routes;
    const first = new Map<string, ObservedRoute>();
    for (const route of await this.#readTable(localTable, names, signal))
      if (!first.has(route.destination)) first.set(route.destination, route);
    return routes.filter((route) => !isRefusing(route) || isSameJson(route, first.get(route.destination)));
  }

  async #readRules(signal: AbortSignal): Promise<readonly PolicyRule[]> {
    const rules: PolicyRule[] = [];
    await this.#netlink.dump(
      dumpPolicyRules(this.#family),
      (type, view, start, end) => {
        if (type === newPolicyRule) rules.push(decodePolicyRule(view, start, end, this.#family));
      },
      signal,
      () => rules.splice(0),
    );
    return this.#keepRules(rules);
  }

  async #readTable(table: number, names: LinkNames, signal: AbortSignal): Promise<readonly ObservedRoute[]> {
    const decode = (view: DataView, start: number, end: number) =>
      decodeNamedRoute(view, start, end, names, this.#family);
    const dump = readDump(this.#netlink, dumpRoutes(table, this.#family), newRoute, decode, signal);
    // The kernel creates a table with its first route.
    return (await orAbsent(dump, ["ENOENT"]))?.filter((route) => route !== undefined) ?? noRoutes;
  }
}

const noRoutes: readonly ObservedRoute[] = [];
/** RT_TABLE_DEFAULT: every system has a rule for it as the last one, but the table rarely exists. */
const defaultTable = 253;

function tablesNamed(rules: readonly PolicyRule[]): ReadonlySet<number> {
  const tables = new Set<number>();
  for (const { action } of rules) if (action.kind === "lookup") tables.add(action.table);
  for (const known of [localTable, mainTable, defaultTable]) tables.delete(known);
  return tables;
}

function isSamePaths(one: ObservedPaths, other: ObservedPaths): boolean {
  if (one.rules !== other.rules || one.tables.size !== other.tables.size) return false;
  return Array.from(one.tables).every(([table, routes]) => isSameJson(routes, other.tables.get(table)));
}

function isSameJson(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
