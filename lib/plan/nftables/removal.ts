/** Takes out what a dataplane of nftables left. Guard and gate are every dataplane's: they stay. */
import { tableLabel } from "../../nftables/family.ts";
import { tableName } from "../../nftables/maps.ts";
import type { RemovalPlanner } from "../removal-planner.ts";

/** The names of the existing tables of family ip. */
export type TableNames = ReadonlySet<string>;

/** The payload is input of `nft -f`, `undefined` where there is nothing to do. */
export const nftablesRemoval: RemovalPlanner<TableNames, string | undefined> = {
  holdsObjects: (names) => names.has(tableName),
  plan(names) {
    if (!names.has(tableName)) return { changes: [], payload: undefined };
    const text = `table ${tableLabel(tableName)}`;
    return {
      changes: [{ action: "remove", subsystem: "rule", text }],
      payload: `delete ${text}\n`,
    };
  },
};
