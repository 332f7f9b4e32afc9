/** Takes out tables that another dataplane left. Guard and gate are every dataplane's: they stay. */
import { backendsTable } from "../../nftables/backends.ts";
import { tableLabel } from "../../nftables/family.ts";
import { tableName } from "../../nftables/maps.ts";
import type { RemovalPlanner } from "../removal-planner.ts";
import type { RulesPlan } from "../rules-planner.ts";

/** The names of the existing tables of family ip. */
export type TableNames = ReadonlySet<string>;

/** The payload is input of `nft -f`, `undefined` where there is nothing to do. */
export type TableRemoval<Observed> = RemovalPlanner<Observed, string | undefined>;

export const nftablesRemoval: TableRemoval<TableNames> = {
  holdsObjects: (names) => names.has(tableName),
  plan: (names) => removing(tableName, names.has(tableName)),
};

/** The table of backends belongs to both variants of iptables. It is read as nft lists it, `undefined` where it is not there. */
export const backendsRemoval: TableRemoval<string | undefined> = {
  holdsObjects: (listing) => listing !== undefined && /\b(?:goto|jump|dnat ip to|dnat to)\b/.test(listing),
  plan: (listing) => removing(backendsTable, listing !== undefined),
};

function removing(table: string, isThere: boolean): RulesPlan<string | undefined> {
  if (!isThere) return { changes: [], payload: undefined };
  const text = `table ${tableLabel(table)}`;
  return { changes: [{ action: "remove", subsystem: "rule", text }], payload: `delete ${text}\n` };
}
