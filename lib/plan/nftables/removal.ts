/** Removes what an nftables dataplane left behind. */
import { barrierTables } from "../../nftables/barrier.ts";
import { tableName } from "../../nftables/maps.ts";
import type { RemovalPlanner } from "../removal-planner.ts";

/** The names of the existing tables of family ip. */
export type TableNames = ReadonlySet<string>;

/**
 * The payload is input of `nft -f`, `undefined` if there is nothing to do.
 *
 * @param keepsBarrier true if the dataplane in use also has guard and gate as tables: they stay
 */
export function nftablesRemoval(keepsBarrier: boolean): RemovalPlanner<TableNames, string | undefined> {
  const owned: readonly string[] = keepsBarrier ? [tableName] : [tableName, ...Object.values(barrierTables)];
  return {
    holdsObjects: (names) => names.has(tableName),
    plan(names) {
      const leaving = owned.filter((name) => names.has(name)).map((name) => `table ip ${name}`);
      return {
        changes: leaving.map((text) => ({ action: "remove", subsystem: "rule", text })),
        payload: leaving.length === 0 ? undefined : leaving.map((table) => `delete ${table}\n`).join(""),
      };
    },
  };
}
