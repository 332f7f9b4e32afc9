/**
 * The address family of the tables that this folder reads and writes. There is one instance of this codec, so the
 * family is set only here. With two families it would be a parameter, as in the codecs of netlink and iptables.
 */
import type { Family } from "../model/family.ts";
import { ipv4 } from "../model/ipv4.ts";

export const tableFamily: Family = ipv4;

/** A table of that family as nft names it: `ip natgw`. */
export function tableLabel(name: string): string {
  return `${tableFamily.nft.family} ${name}`;
}
