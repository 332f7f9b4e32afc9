/**
 * The CIDRs of SNATs that guard knows. The rules of an SNAT do not always show its CIDR: a small pool has a rule for each client,
 * and nftables holds ranges of clients that no narrower SNAT has.
 */
import { maskedParts } from "../iptables/masked.ts";
import type { RuleDump } from "../iptables/save.ts";
import type { Family } from "../model/family.ts";
import type { Cidr } from "../model/ip.ts";
import type { GuardElements } from "../nftables/sets.ts";

/** In the guard's table. */
export function clientsOf({ clients }: GuardElements, family: Family): readonly Cidr[] {
  return [...clients.keys()].flatMap((key) => {
    const [network = "", mask = ""] = key.split(" . ");
    const [address, bits] = [family.parse(network), family.parse(mask)];
    const length = bits && family.lengthOfMask(family.toValue(bits));
    return address === undefined || length === undefined ? [] : [family.makeCidr(address, length)];
  });
}

/** In the guard's chains, where the kernel has no nf_tables. */
export function clientsInFilter(rules: RuleDump, family: Family): readonly Cidr[] {
  return (rules.get("filter")?.get("NATGW_CLIENTS") ?? []).flatMap(({ spec }) => {
    if (spec === undefined) return [];
    if (spec.source === undefined) return [family.everything];
    const { address, mask } = maskedParts(spec.source, family);
    const length = family.lengthOfMask(mask);
    return length === undefined ? [] : [family.makeCidr(family.format(address), length)];
  });
}
