/** Compares the table of rate limits with what it should be. */
import { type Chunked, everyNth } from "../../chunked.ts";
import type { Change } from "../../model/change.ts";
import type { ObjectId } from "../../model/names.ts";
import { isSameDefinition } from "../../nftables/definition-lines.ts";
import { qosDefinitionLines } from "../../nftables/encode-qos.ts";
import { catchAll } from "../../nftables/maps.ts";
import type { ObservedQosTable, QosDefinition } from "../../nftables/qos.ts";
import { elementChange, type TableStep, tableChange } from "./steps.ts";
import type { WantedQos } from "./wanted.ts";

export interface TableDifference {
  readonly step: TableStep | undefined;
  /** True if rules are missing: no limit works. */
  readonly isDefinitionMissing: boolean;
  /** Limits whose element is missing, with the change that adds it. */
  readonly missing: ReadonlyMap<ObjectId, string>;
}

const nothing: TableDifference = { step: undefined, isDefinitionMissing: false, missing: new Map() };

/** Takes a few milliseconds. */
const comparedAtOnce = 5_000;

export function* compareTable(
  { definition, elements }: Pick<WantedQos, "definition" | "elements">,
  observed: ObservedQosTable,
): Chunked<TableDifference> {
  const isDue = everyNth(comparedAtOnce);
  if (definition === undefined) {
    if (observed.definition === undefined) return nothing;
    return { ...nothing, step: tableStep([tableChange("remove")], { make: undefined, isReplaced: true }) };
  }
  const isSame = isDefinitionRight(definition, observed);
  const remove = new Map<string, readonly string[]>();
  const add = new Map<string, ReadonlyMap<string, string>>();
  const changes: Change[] = [];
  const missing = new Map<ObjectId, string>();
  for (const [set, wanted] of elements) {
    const held = (isSame ? observed.elements.get(set) : undefined) ?? new Map<string, string>();
    const outdated: string[] = [];
    const lacking = new Map<string, string>();
    for (const [key, value] of held) {
      if (isDue()) yield;
      const element = wanted.get(key);
      if (element?.value === value) continue;
      outdated.push(key);
      changes.push(elementChange("remove", set, key, value, element?.object));
    }
    for (const [key, { value, object }] of wanted) {
      if (isDue()) yield;
      if (held.get(key) === value) continue;
      lacking.set(key, value);
      const change = elementChange("add", set, key, value, object);
      changes.push(change);
      missing.set(object, change.text);
    }
    if (outdated.length > 0) remove.set(set, outdated);
    if (lacking.size > 0) add.set(set, lacking);
  }
  const isMade = observed.definition === undefined;
  if (!isSame) changes.unshift(tableChange(isMade ? "add" : "replace"));
  if (changes.length === 0) return nothing;
  const making = isSame ? undefined : { make: definition, isReplaced: !isMade };
  return { step: tableStep(changes, making, remove, add), isDefinitionMissing: !isSame, missing };
}

/** An element for every other EIP is never ours, and cannot be deleted like one with a key. */
function isDefinitionRight(
  definition: QosDefinition,
  { definition: lines, elements }: ObservedQosTable,
): boolean {
  return (
    isSameDefinition(lines, qosDefinitionLines(definition)) &&
    !elements.values().some((values) => values.has(catchAll))
  );
}

function tableStep(
  changes: readonly Change[],
  definition: { readonly make: QosDefinition | undefined; readonly isReplaced: boolean } | undefined,
  remove: ReadonlyMap<string, readonly string[]> = new Map(),
  add: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map(),
): TableStep {
  return { kind: "table", transaction: { definition, remove, add }, changes };
}
