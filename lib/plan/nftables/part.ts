/** Plans the change from one part of a program to another, by the keys of both. */

import type { Change } from "../../model/change.ts";
import type { ObjectId } from "../../model/names.ts";
import type { TableTransaction } from "../../nftables/encode-transaction.ts";
import { byMap, type Elements, elementText, type MapName, mapNames } from "../../nftables/maps.ts";
import type { WantedTable } from "./layout.ts";
import type { TablePlan } from "./table.ts";

/**
 * Elements outside both parts are not considered. On its own result it plans nothing.
 * @returns `undefined` if the definition may have to change: its draws depend on the backend counts of all DNATs
 */
export function planPart(from: WantedTable, to: WantedTable, elements: Elements): TablePlan | undefined {
  if (countsOf(from) !== countsOf(to)) return undefined;
  const wanted = byMap(() => new Map<string, { readonly value: string; readonly object: ObjectId }>());
  to.visit((map, key, value, object) => {
    wanted[map].set(key, { value, object });
  });
  const remove: { readonly [K in MapName]: string[] } = byMap(() => []);
  const add: { readonly [K in MapName]: Map<string, string> } = byMap(() => new Map());
  const changes: Change[] = [];
  from.visit((map, key) => {
    const value = elements[map].get(key);
    if (value === undefined || wanted[map].has(key)) return;
    remove[map].push(key);
    changes.push({ action: "remove", subsystem: "rule", text: elementText(map, key, value) });
  });
  for (const map of mapNames) {
    for (const [key, { value, object }] of wanted[map]) {
      const before = elements[map].get(key);
      if (before === value) continue;
      // The kernel refuses a second value for a key: delete the element and add it in one transaction.
      if (before !== undefined) remove[map].push(key);
      add[map].set(key, value);
      const action = before === undefined ? "add" : "replace";
      changes.push({ action, subsystem: "rule", object, text: elementText(map, key, value) });
    }
  }
  const transaction: TableTransaction = { definition: undefined, remove, add };
  return { transaction: changes.length === 0 ? undefined : transaction, changes };
}

function countsOf({ definition: { backendCounts, stickyCounts } }: WantedTable): string {
  return `${backendCounts.join()} ${stickyCounts.join()}`;
}
