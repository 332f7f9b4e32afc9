/** What the owned chains say, without asking what they should say. */
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

/** The agent's own, by table. */
export const ownedChains: Readonly<Record<TableName, readonly string[]>> = {
  nat: ["DNAT_FILTER", "SNAT_FILTER", ...objectChains],
  mangle: ["VPC_MARK"],
  filter: ["NATGW_GATE", "NATGW_GUARD"],
};

const allOwned = new Set(Object.values(ownedChains).flat());

/** True of the name of an owned chain, in whichever table. */
export function isOwnChain(name: string): boolean {
  return allOwned.has(name);
}

/** True where an owned chain holds a rule of an object; hooks, frame, gate and guard do not count. */
export function holdsObjects(dump: RuleDump): boolean {
  return objectChains.some((chain) => rulesOf(dump, chain).length > 0);
}

/** True where the filter table's gate is hooked and drops anything. */
export function isFilterGateClosed(dump: RuleDump): boolean {
  const filter = dump.get("filter");
  const isHooked = filter?.get("FORWARD")?.some(({ text }) => text === jumpTo("NATGW_GATE").text) ?? false;
  return isHooked && (filter?.get("NATGW_GATE")?.some(({ spec }) => spec?.target.kind === "drop") ?? false);
}

/** How many rules the owned chains of nat and mangle hold, the frame included. */
export function countOwned(dump: RuleDump): number {
  return [...ownedRules(dump, "nat"), ...ownedRules(dump, "mangle")].reduce(
    (sum, rules) => sum + rules.length,
    0,
  );
}

/** The addresses that objects' rules name as EIP. */
export function eipsNamed(dump: RuleDump, family: Family): ReadonlySet<Ip> {
  const eips = objectChains.flatMap((chain) => rulesOf(dump, chain).map((rule) => eipOf(rule, family)));
  return new Set(eips.filter((eip) => eip !== undefined));
}

/** Rules in chains of others that name `address`, as one would type them. */
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
