/** What the kernel should hold to count the traffic of a program's EIPs. */
import { type Chunked, forEachChunked } from "../../chunked.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import { type Program, ruledEips } from "../../model/program.ts";
import type { AccountingDefinition } from "../../nftables/accounting.ts";
import { outsideInterfaces } from "../gate/filter-tables.ts";

export interface WantedAccounting {
  /** `undefined`: no table. */
  readonly definition: AccountingDefinition | undefined;
  readonly eips: ReadonlySet<string>;
}

const nothing: WantedAccounting = { definition: undefined, eips: new Set() };

/** Takes a few milliseconds. */
const notedAtOnce = 10_000;

/** Without EIPs there is no table. */
export function* wantedAccounting(program: Program, network: ObservedNetwork): Chunked<WantedAccounting> {
  const eips = new Set<string>();
  yield* forEachChunked(ruledEips(program), notedAtOnce, ({ address }) => eips.add(address));
  if (eips.size === 0) return nothing;
  const outsides = yield* outsideInterfaces(program);
  const definition = outsides.map((name) => ({ name, mtu: wireMtu(network, program.vpcInterface, name) }));
  return { definition, eips };
}

/** What Ethernet has, where it is not known. */
const usualMtu = 1500;
/** Of IPv4. */
const smallestMtu = 68;

/** What packets between the VPC and the outside have at most, on the wire. */
export function wireMtu(
  { links }: Pick<ObservedNetwork, "links">,
  vpcInterface: InterfaceName,
  outside: InterfaceName,
): number {
  const known = links.flatMap(({ name, mtu }) =>
    mtu !== undefined && mtu >= smallestMtu && (name === vpcInterface || name === outside) ? [mtu] : [],
  );
  return known.length === 0 ? usualMtu : Math.min(...known);
}
