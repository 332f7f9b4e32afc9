/**
 * The family of the tables that this folder reads and writes. Their codec has one instance, so it is bound here and nowhere else:
 * two families would have it as a parameter, as the codecs of netlink and iptables have theirs.
 */
import type { Family } from "../model/family.ts";
import { ipv4 } from "../model/ipv4.ts";

export const tableFamily: Family = ipv4;
