/** Facts about the owned chains as read, without comparing them with the program. */
import { type Chunked, everyNth, runSync } from "../../chunked.ts";
import { hostOf } from "../../iptables/masked.ts";
import { jumpTo, type Rule, type TableName } from "../../iptables/rule.ts";
import type { RuleDump } from "../../iptables/save.ts";
import { familyOf } from "../../model/families.ts";
import type { Family } from "../../model/family.ts";
import type { Ip } from "../../model/ip.ts";

const objectChains = [
  "EXCLUSIVE_DNAT",
  "EXCLUSIVE_SNAT",
  "SHARED_DNAT",
  "SHARED_SNAT",
  "HAIRPIN_SNAT",
] as const;

/** The agent's own chains, by table. */
export const ownedChains: Readonly<Record<TableName, readonly string[]>> = {
  nat: ["DNAT_FILTER", "SNAT_FILTER", ...objectChains],
  mangle: ["VPC_MARK"],
  filter: [
    "NATGW_GATE",
    "NATGW_GUARD",
    "NATGW_INPUT",
    "NATGW_FIPS",
    "NATGW_TO_FIPS",
    "NATGW_BACKENDS",
    "NATGW_TO_BACKENDS",
    "NATGW_CLIENTS",
    "NATGW_EIPS",
    "NATGW_DROP_OUT",
    "NATGW_DROP_IN",
    "NATGW_DROP_AWAY",
    "NATGW_BFD_IN",
    "NATGW_BFD_OUT",
    "NATGW_API",
    "NATGW_API_IN",
    "NATGW_SET",
  ],
};

/**
 * The owned chains of each place. Guard and gate are chains only of iptables-legacy: where there is nft, they are tables. A chain
 * with the name of one elsewhere is any other program's.
 */
const ownedAt = new Map(
  (
    [
      ["iptables-legacy -t", ["nat", "mangle", "filter"]],
      ["iptables-nft -t", ["nat", "mangle"]],
      ["nft ip", ["nat", "mangle"]],
    ] as const
  ).flatMap(([tool, tables]) =>
    tables.map((table): [string, ReadonlySet<string>] => [`${tool} ${table}`, new Set(ownedChains[table])]),
  ),
);

/**
 * True for an owned chain, also one of a variant that is not in use: that is removed.
 *
 * @param place see `Chain.place`
 */
export function isOwnChain(place: string, name: string): boolean {
  return ownedAt.get(place)?.has(name) ?? false;
}

/** True if an owned chain has a rule of an object. Hooks, fixed rules, gate and guard do not count. */
export function holdsObjects(dump: RuleDump): boolean {
  return objectChains.some((chain) => rulesOf(dump, chain).length > 0);
}

/** True if the gate in the filter table is hooked and drops something. */
export function isFilterGateClosed(dump: RuleDump): boolean {
  return isDropping(dump, "FORWARD", "NATGW_GATE");
}

/** The same of BFD's gate, in either direction. */
export function isFilterBfdGateClosed(dump: RuleDump): boolean {
  return isDropping(dump, "INPUT", "NATGW_BFD_IN") || isDropping(dump, "OUTPUT", "NATGW_BFD_OUT");
}

/** True if the filter table tells that a set was accepted. */
export function isMarkedSet(dump: RuleDump): boolean {
  return dump.get("filter")?.has("NATGW_SET") ?? false;
}

function isDropping(dump: RuleDump, hook: string, chain: string): boolean {
  const filter = dump.get("filter");
  const isHooked = filter?.get(hook)?.some(({ text }) => text === jumpTo(chain).text) ?? false;
  return isHooked && (filter?.get(chain)?.some(({ spec }) => spec?.target.kind === "drop") ?? false);
}

/** The number of rules in the owned chains of nat and mangle, including the fixed ones. */
export function countOwned(dump: RuleDump): number {
  return [...ownedRules(dump, "nat"), ...ownedRules(dump, "mangle")].reduce(
    (sum, rules) => sum + rules.length,
    0,
  );
}

/** The addresses that rules of objects have as EIP. */
export function eipsNamed(...given: Parameters<typeof eipsNamedChunked>): ReadonlySet<Ip> {
  return runSync(eipsNamedChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** The same in parts. */
export function* eipsNamedChunked(dump: RuleDump, family: Family): Chunked<ReadonlySet<Ip>> {
  const eips = new Set<Ip>();
  const isDue = everyNth(lookedAtOnce);
  for (const chain of objectChains)
    for (const rule of rulesOf(dump, chain)) {
      if (isDue()) yield;
      const eip = eipOf(rule, family);
      if (eip !== undefined) eips.add(eip);
    }
  return eips;
}

/** The EIPs that the guard's chain has, where the kernel has no nf_tables. */
export function* guardedInFilter(dump: RuleDump, family: Family): Chunked<ReadonlyMap<string, string>> {
  const eips = new Map<string, string>();
  const isDue = everyNth(lookedAtOnce);
  for (const { spec } of dump.get("filter")?.get("NATGW_EIPS") ?? []) {
    if (isDue()) yield;
    const eip = spec?.destination && hostOf(spec.destination, family);
    if (eip !== undefined) eips.set(eip, "");
  }
  return eips;
}

/** Rules in other chains that contain `address`, as iptables commands. */
export function foreignRulesNaming(dump: RuleDump, address: Ip): readonly string[] {
  const names = familyOf(address).mentionOf(address);
  return [...dump].flatMap(([table, chains]) =>
    [...chains]
      .filter(([chain]) => !ownedChains[table].includes(chain))
      .flatMap(([chain, rules]) =>
        rules.filter(({ raw }) => names.test(raw)).map(({ raw }) => `-t ${table} -A ${chain} ${raw}`),
      ),
  );
}

function eipOf({ spec }: Rule, family: Family): Ip | undefined {
  if (spec?.target.kind === "snat") return spec.target.to;
  if (spec?.target.kind !== "dnat" || spec.destination === undefined) return undefined;
  return hostOf(spec.destination, family);
}

function rulesOf(dump: RuleDump, chain: string): readonly Rule[] {
  return dump.get("nat")?.get(chain) ?? [];
}

function ownedRules(dump: RuleDump, table: TableName): readonly (readonly Rule[])[] {
  return ownedChains[table].map((chain) => dump.get(table)?.get(chain) ?? []);
}
