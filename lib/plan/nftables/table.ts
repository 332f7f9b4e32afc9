/** Plans the table, its frame and its elements, as one transaction. */

import type { Change } from "../../model/change.ts";
import type { TableTransaction } from "../../nftables/encode-transaction.ts";
import { tableLabel } from "../../nftables/family.ts";
import { byMap, type Elements, type ElementValues, elementText, tableName } from "../../nftables/maps.ts";
import type { MapDifference, ObservedTable, TableDifference } from "./compare.ts";
import type { WantedTable } from "./layout.ts";

export interface TablePlan {
  /** `undefined` if there is nothing to do. */
  readonly transaction: TableTransaction | undefined;
  readonly changes: readonly Change[];
}

/**
 * A wrong frame is recreated together with all elements in one transaction, so no packet sees a table without elements.
 */
export function planTable(
  wanted: WantedTable,
  observed: ObservedTable,
  difference: TableDifference,
): TablePlan {
  const changes = difference.maps.flatMap((part) => describe(part, observed.elements[part.map]));
  if (difference.isFrameRight) {
    const isThere = changes.length === 0;
    return { transaction: isThere ? undefined : elementsTransaction(difference, observed), changes };
  }
  const isReplaced = observed.frame !== undefined;
  const frame: Change = {
    action: isReplaced ? "replace" : "add",
    subsystem: "rule",
    text: `table ${tableLabel(tableName)}`,
  };
  const transaction: TableTransaction = {
    frame: { make: wanted.frame, isReplaced },
    remove: byMap(() => []),
    add: allElements(wanted),
  };
  return { transaction, changes: [frame, ...changes] };
}

/** Every element of a program, by map. */
export function allElements(wanted: WantedTable): Elements {
  const elements = byMap(() => new Map<string, string>());
  wanted.visit((map, key, value) => elements[map].set(key, value));
  return elements;
}

function elementsTransaction({ maps }: TableDifference, { elements }: ObservedTable): TableTransaction {
  const differences = new Map(maps.map((part) => [part.map, part]));
  return {
    frame: undefined,
    remove: byMap((map) => {
      const { absent = [], surplus = [] } = differences.get(map) ?? {};
      const replaced = absent.filter(({ key }) => elements[map].has(key));
      return [...surplus.map(([key]) => key), ...replaced.map(({ key }) => key)];
    }),
    add: byMap((map) => new Map(differences.get(map)?.absent.map(({ key, value }) => [key, value]))),
  };
}

function describe({ map, absent, surplus }: MapDifference, observed: ElementValues): readonly Change[] {
  const removals = surplus.map(
    ([key, value]): Change => ({ action: "remove", subsystem: "rule", text: elementText(map, key, value) }),
  );
  const additions = absent.map(({ key, value, object }): Change => {
    const action = observed.has(key) ? "replace" : "add";
    return { action, subsystem: "rule", object, text: elementText(map, key, value) };
  });
  return [...removals, ...additions];
}
