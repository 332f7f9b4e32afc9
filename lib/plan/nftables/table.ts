/** Plans the table, its definition and its elements, as one transaction. */

import { type Chunked, everyNth, runSync } from "../../chunked.ts";
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
 * A wrong definition is recreated together with all elements in one transaction, so no packet sees a table without elements.
 */
export function planTable(...given: Parameters<typeof planTableChunked>): TablePlan {
  return runSync(planTableChunked(...given));
}

/** Takes a few milliseconds. */
const handledAtOnce = 4_000;

/** The same in parts. */
export function* planTableChunked(
  wanted: WantedTable,
  observed: ObservedTable,
  difference: TableDifference,
): Chunked<TablePlan> {
  const changes: Change[] = [];
  for (const part of difference.maps) yield* describe(part, observed.elements[part.map], changes);
  if (difference.isDefinitionRight) {
    const isThere = changes.length === 0;
    return { transaction: isThere ? undefined : yield* elementsTransaction(difference, observed), changes };
  }
  const isReplaced = observed.definition !== undefined;
  const definition: Change = {
    action: isReplaced ? "replace" : "add",
    subsystem: "rule",
    text: `table ${tableLabel(tableName)}`,
  };
  const transaction: TableTransaction = {
    definition: { make: wanted.definition, isReplaced },
    remove: byMap(() => []),
    add: yield* allElementsChunked(wanted),
  };
  return { transaction, changes: [definition, ...changes] };
}

/** Every element of a program, by map. */
export function allElements(wanted: WantedTable): Elements {
  return runSync(allElementsChunked(wanted));
}

function* allElementsChunked(wanted: WantedTable): Chunked<Elements> {
  const elements = byMap(() => new Map<string, string>());
  yield* wanted.visitChunked((map, key, value) => elements[map].set(key, value));
  return elements;
}

function* elementsTransaction(
  { maps }: TableDifference,
  { elements }: ObservedTable,
): Chunked<TableTransaction> {
  const remove = byMap((): string[] => []);
  const add = byMap(() => new Map<string, string>());
  const isDue = everyNth(handledAtOnce);
  for (const { map, absent, surplus } of maps) {
    for (const [key] of surplus) {
      if (isDue()) yield;
      remove[map].push(key);
    }
    for (const { key, value } of absent) {
      if (isDue()) yield;
      if (elements[map].has(key)) remove[map].push(key);
      add[map].set(key, value);
    }
  }
  return { definition: undefined, remove, add };
}

function* describe(
  { map, absent, surplus }: MapDifference,
  observed: ElementValues,
  changes: Change[],
): Chunked<void> {
  const isDue = everyNth(handledAtOnce);
  for (const [key, value] of surplus) {
    if (isDue()) yield;
    changes.push({ action: "remove", subsystem: "rule", text: elementText(map, key, value) });
  }
  for (const { key, value, object } of absent) {
    if (isDue()) yield;
    const action = observed.has(key) ? "replace" : "add";
    changes.push({ action, subsystem: "rule", object, text: elementText(map, key, value) });
  }
}
