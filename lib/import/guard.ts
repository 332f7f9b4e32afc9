/**
 * The CIDRs of SNATs that guard knows. The rules of an SNAT do not always show its CIDR: a small pool has a rule for each client,
 * and nftables holds ranges of clients that no narrower SNAT has.
 */
import { type Chunked, everyNth } from "../chunked.ts";
import { maskedParts } from "../iptables/masked.ts";
import type { RuleDump } from "../iptables/save.ts";
import type { Family } from "../model/family.ts";
import type { Cidr } from "../model/ip.ts";
import type { GuardElements } from "../nftables/sets.ts";

/** In the guard's table. */
export function* clientsOf({ clients }: GuardElements, family: Family): Chunked<readonly Cidr[]> {
  const cidrs: Cidr[] = [];
  const isDue = everyNth(readAtOnce);
  for (const key of clients.keys()) {
    if (isDue()) yield;
    const [network = "", mask = ""] = key.split(" . ");
    const [address, bits] = [family.parse(network), family.parse(mask)];
    const length = bits && family.lengthOfMask(family.toValue(bits));
    if (address !== undefined && length !== undefined) cidrs.push(family.makeCidr(address, length));
  }
  return cidrs;
}

/** Takes a few milliseconds. */
const readAtOnce = 4_000;

/** In the guard's chains, where the kernel has no nf_tables. */
export function* clientsInFilter(rules: RuleDump, family: Family): Chunked<readonly Cidr[]> {
  const cidrs: Cidr[] = [];
  const isDue = everyNth(readAtOnce);
  for (const { spec } of rules.get("filter")?.get("NATGW_CLIENTS") ?? []) {
    if (isDue()) yield;
    if (spec === undefined) continue;
    const { address, mask } =
      spec.source === undefined ? anyAddress(family) : maskedParts(spec.source, family);
    const length = family.lengthOfMask(mask);
    if (length !== undefined) cidrs.push(family.makeCidr(family.format(address), length));
  }
  return cidrs;
}

/** Of a rule that names no source. */
function anyAddress({ zero, netmask }: Family) {
  return { address: zero, mask: netmask(0) };
}
