/** Reports unknown parts of the state: their paths and how often each occurs. */
import type { Unrecognized } from "../../lib/state/unrecognized.ts";
import type { UnrecognizedPart } from "./codec.ts";
import { isJsonObject } from "./json.ts";
import type { StateReaders } from "./state-readers.ts";

/** Names in a path come from other software and can have any length. */
const maxPathLength = 120;

/**
 * Sorted by path, in JSONPath notation: `objects.limits`, `objects.eips[*].spec.bound`, `tombstones[*].by`,
 * `changes.put.limit`.
 */
export function unrecognizedParts(
  { members, collections, ledger, records, changes }: Unrecognized,
  readers: StateReaders,
): readonly UnrecognizedPart[] {
  const counts = new Map<string, number>();
  const count = (path: string, times = 1) => counts.set(path, (counts.get(path) ?? 0) + times);
  for (const [name, value] of Object.entries(collections)) count(`objects.${name}`, sizeOf(value));
  for (const [key, whole] of records) {
    const place = key.split("/", key.startsWith("objects/") ? 2 : 1).join("/");
    const path = `${place.replace("/", ".")}${place === key ? "" : "[*]"}`;
    for (const field of readerOf(place, readers)?.unknownFields(whole) ?? []) count(`${path}${field}`);
  }
  for (const [name, value] of Object.entries(ledger)) count(`ledger.${name}`, sizeOf(value));
  for (const [name, value] of Object.entries(members)) count(name, sizeOf(value));
  for (const { type, kind, change } of changes) {
    const of = typeof kind === "string" ? kind : isJsonObject(change) ? change.type : undefined;
    count(["changes", type, of].filter((part) => part !== undefined).join("."));
  }
  const parts = Array.from(counts, ([path, count]) => ({ path: path.slice(0, maxPathLength), count }));
  return parts.sort((one, other) => (one.path < other.path ? -1 : 1));
}

function readerOf(place: string, readers: StateReaders) {
  switch (place) {
    case "gateway":
    case "lastFullSet":
    case "tombstones":
    case "leases":
      return readers[place];
    default:
      return readers.objects.values().find(({ collection }) => place === `objects/${collection}`)?.reader;
  }
}

function sizeOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 1;
}
