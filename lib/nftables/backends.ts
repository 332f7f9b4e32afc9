/**
 * The table of DNATs with several backends, beside rules of iptables. Kube-OVN's own tests read it, so its name and look are
 * theirs. In nft's words:
 *
 *     table ip kube-ovn
 *       map dnat_backends { type ipv4_addr . inet_proto . inet_service : verdict;
 *         203.0.113.10 . tcp . 80 : goto dnat-203.0.113.10-tcp-80
 *       }
 *       chain prerouting { type nat hook prerouting priority dstnat + 1;
 *         ip daddr . meta l4proto . th dport vmap @dnat_backends
 *       }
 *       chain dnat-203.0.113.10-tcp-80 {
 *         meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.0.1.61 . 80, 1 : 10.0.1.62 . 80 }
 *       }
 *
 * With session affinity `jhash ip saddr mod 2 seed 0x1` takes the place of the random number. Its chain is called after PREROUTING of iptables, since a FIP of the same EIP comes first. What that chain has translated
 * never gets here.
 */
import { isSameMap } from "../memoize.ts";
import type { Ip } from "../model/ip.ts";
import type { ProgramDnat } from "../model/program.ts";
import type { Backend, Protocol } from "../model/schema.ts";
import { type DefinitionLines, isSameDefinition } from "./definition-lines.ts";
import { hashSeed } from "./expressions.ts";
import { tableLabel } from "./family.ts";
import { type Field, field } from "./fields.ts";
import { concatText, type ElementMap } from "./maps.ts";

/** Kube-OVN's name. A table that its own script made is taken over. */
export const backendsTable = "kube-ovn";
export const backendsMap = "dnat_backends";
export const backendsChain = "prerouting";
/** `dstnat + 1`. */
export const backendsPriority = -99;

const { address, protocol, port, number } = field;
/** The key of the map. */
export const serviceFields: readonly Field[] = [address, protocol, port];
/** The map of a rule, which has no name. */
export const drawnMap: ElementMap = { key: [number], value: [address, port], isInterval: false };

/** What the chain of a DNAT does: a new flow draws one of the backends, or its client's address decides. */
export interface BackendsRule {
  readonly protocol: Protocol;
  readonly backends: readonly Backend[];
  readonly isSticky?: boolean;
}

/** What the kernel holds. */
export interface ObservedBackends {
  /** Everything but what DNATs have; `undefined`: there is no table. */
  readonly definition: DefinitionLines;
  /** The verdict by key: of our map, or of another program's in its place. Empty if there is none, or several. */
  readonly elements: ReadonlyMap<string, string>;
  /** The rules of each chain that is on no hook, as {@link ruleText} where they are one of ours. */
  readonly chains: ReadonlyMap<string, string>;
}

export function isSameBackends(one: ObservedBackends, other: ObservedBackends): boolean {
  return (
    one === other ||
    (isSameDefinition(one.definition, other.definition) &&
      isSameMap(one.elements, other.elements) &&
      isSameMap(one.chains, other.chains))
  );
}

/** One transaction. Parts are applied in this order. */
export interface BackendsTransaction {
  /** `make`: the table without elements; `replace`: the same after deleting what is there. */
  readonly definition: "make" | "replace" | undefined;
  /** Keys. */
  readonly remove: readonly string[];
  /** Chains to delete. */
  readonly drop: readonly string[];
  /** The whole content of chains. */
  readonly write: ReadonlyMap<string, BackendsRule & { readonly isNew: boolean }>;
  /** The chain by key. */
  readonly add: ReadonlyMap<string, string>;
}

/** `203.0.113.10 . tcp . 80`. */
export function serviceKey({ eip, protocol, externalPort }: ProgramDnat): string {
  return concatText(eip, protocol, externalPort);
}

/** The EIP in a key. */
export function eipOfService(key: string): Ip {
  return key.slice(0, key.indexOf(" ")) as Ip;
}

/** `dnat-203.0.113.10-tcp-80`. */
export function chainOfService(key: string): string {
  return `dnat-${key.replaceAll(" . ", "-")}`;
}

/** The verdict that leads to a chain. */
export function gotoText(chain: string): string {
  return `goto ${chain}`;
}

/** The rule as nft lists it. */
export function ruleText({ protocol, backends, isSticky }: BackendsRule): string {
  const items = backends.map(({ ip, port }, index) => `${index} : ${ip} . ${port}`);
  return `meta l4proto ${protocol} dnat ip to ${drawText(items.length, isSticky)} map { ${items.join(", ")} }`;
}

/** How one of `count` backends is chosen, as nft lists it. */
export function drawText(count: number, isSticky = false): string {
  return isSticky
    ? `jhash ip saddr mod ${count} seed 0x${hashSeed.toString(16)}`
    : `numgen random mod ${count}`;
}

/** A chain for people. Beyond a handful of backends the rest is counted. */
export function chainText(chain: string, { protocol, backends, isSticky }: BackendsRule): string {
  const spelt = backends.slice(0, maxSpelt).map(({ ip, port }, index) => `${index} : ${ip} . ${port}`);
  if (backends.length > maxSpelt) spelt.push(`… ${backends.length - maxSpelt} more`);
  const map = `${drawText(backends.length, isSticky)} map { ${spelt.join(", ")} }`;
  return `chain ${tableLabel(backendsTable)} ${chain} { meta l4proto ${protocol} dnat ip to ${map} }`;
}

const maxSpelt = 4;
