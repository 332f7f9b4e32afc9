/**
 * Finds the gateway's interfaces in its rules. Kube-OVN's `init` may have named them, and a lost state has forgotten them: then the
 * settings say others than those that the rules are for.
 */
import type { RuleDump } from "../iptables/save.ts";
import type { GatewayConfig } from "../model/gateway-config.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import { poolBuckets } from "../model/program.ts";
import { type DefinitionLines, definitionLines } from "../nftables/definition-lines.ts";
import { filterTableLines } from "../nftables/filter-tables.ts";
import type { IptablesObserved } from "../plan/iptables/observed.ts";
import type { ObservedTable } from "../plan/nftables/compare.ts";
import type { NftablesObserved } from "../plan/nftables/observed.ts";

/** Absent: the rules do not say. */
export interface FoundInterfaces {
  readonly vpc?: InterfaceName | undefined;
  readonly external?: InterfaceName | undefined;
}

export type Interfaces = Pick<GatewayConfig, "vpcInterface" | "externalInterface">;

export function interfacesOfIptables(
  { rules, filterTables }: Pick<IptablesObserved, "rules" | "filterTables">,
  links: readonly InterfaceName[],
): FoundInterfaces {
  return firstFound(
    interfacesInDump(rules),
    interfacesInGuard(filterTables?.definitions.guard, rules, links),
  );
}

export function interfacesOfNftables(
  { table, filterTables }: Pick<NftablesObserved, "table" | "filterTables">,
  links: readonly InterfaceName[],
): FoundInterfaces {
  return firstFound(
    interfacesInTable(table, links),
    interfacesInGuard(filterTables.definitions.guard, undefined, links),
  );
}

/** VPC_MARK marks what comes in by the VPC, SHARED_SNAT translates what leaves to the outside. */
export function interfacesInDump(rules: RuleDump): FoundInterfaces {
  const [mark] = rules.get("mangle")?.get("VPC_MARK") ?? [];
  const snats = rules.get("nat")?.get("SHARED_SNAT") ?? [];
  return {
    vpc: mark?.spec?.inInterface,
    external: snats.find(({ spec }) => spec?.outInterface !== undefined)?.spec?.outInterface,
  };
}

/** The guard's rules, in either form. Which of several outside interfaces is the external one, they do not tell. */
export function interfacesInGuard(
  lines: DefinitionLines,
  rules: RuleDump | undefined,
  links: readonly InterfaceName[],
): FoundInterfaces {
  const chain = rules?.get("filter")?.get("NATGW_GUARD") ?? [];
  const ways = chain.flatMap(({ spec }): readonly Way[] =>
    spec?.inInterface === undefined || spec.outInterface === undefined
      ? []
      : [{ vpc: spec.inInterface, outside: spec.outInterface }],
  );
  const all = [...ways, ...waysInGuard(lines, links)];
  const outsides = new Set(all.map(({ outside }) => outside));
  return { vpc: all[0]?.vpc, external: outsides.size === 1 ? all[0]?.outside : undefined };
}

interface Way {
  readonly vpc: InterfaceName;
  readonly outside: InterfaceName;
}

function waysInGuard(lines: DefinitionLines = [], links: readonly InterfaceName[]): readonly Way[] {
  const present = new Set(lines);
  return links.flatMap((vpc) =>
    links
      .filter(
        (outside) =>
          outside !== vpc &&
          filterTableLines("guard", { vpcInterface: vpc, outsides: [outside] })
            .filter((line) => line.startsWith("rule "))
            .every((line) => present.has(line)),
      )
      .map((outside) => ({ vpc, outside })),
  );
}

/** What the first of them tells, for each of the two. */
export function firstFound(...found: readonly FoundInterfaces[]): FoundInterfaces {
  return {
    vpc: found.find(({ vpc }) => vpc !== undefined)?.vpc,
    external: found.find(({ external }) => external !== undefined)?.external,
  };
}

/** The definition has the names in bytes: they are compared with those of each link. */
export function interfacesInTable(
  { definition = [] }: ObservedTable,
  links: readonly InterfaceName[],
): FoundInterfaces {
  const lines = new Set(definition);
  const isFor = (vpcInterface: InterfaceName, external: readonly InterfaceName[]) => {
    const lookups = external.map((name) => ({ interface: name, buckets: poolBuckets }));
    const rules = definitionLines({ vpcInterface, lookups, backendCounts: [], stickyCounts: [] }).filter(
      (line) => line.startsWith("rule "),
    );
    return rules.length > 0 && rules.every((line) => lines.has(line));
  };
  const vpc = links.find((name) => isFor(name, []));
  const external = vpc === undefined ? undefined : links.find((name) => isFor(vpc, [name]));
  return { vpc, external };
}

/**
 * The interfaces of the rules, where both exist; else those of the settings.
 * @param found by dataplane, the one in use first
 * @param named IPs that owned rules have as EIP: without an SNAT they tell the external interface
 */
export function chooseInterfaces(
  found: readonly FoundInterfaces[],
  { links, addresses }: ObservedNetwork,
  named: ReadonlySet<Ip>,
  config: Interfaces,
): Interfaces {
  const first = firstFound(...found);
  const vpcInterface = first.vpc ?? config.vpcInterface;
  const externalInterface =
    first.external ??
    addresses.find(({ address, interface: name }) => named.has(address) && name !== vpcInterface)
      ?.interface ??
    config.externalInterface;
  const names = new Set(links.map(({ name }) => name));
  const isThere =
    names.has(vpcInterface) && names.has(externalInterface) && vpcInterface !== externalInterface;
  return isThere ? { vpcInterface, externalInterface } : config;
}

export function isSameInterfaces(one: Interfaces, other: Interfaces): boolean {
  return one.vpcInterface === other.vpcInterface && one.externalInterface === other.externalInterface;
}
