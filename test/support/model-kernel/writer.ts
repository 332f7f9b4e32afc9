/** The writes of a script, decided as the API would. */

import { applyBatch } from "../../../lib/admission/batch.ts";
import { deleteObject } from "../../../lib/admission/delete-object.ts";
import { checkSet, putFullSet } from "../../../lib/admission/full-set.ts";
import { putObject } from "../../../lib/admission/put-object.ts";
import { renewLeases } from "../../../lib/admission/renew-leases.ts";
import type { Batch, FullSet } from "../../../lib/admission/requests.ts";
import type { Decision, WriteContext } from "../../../lib/admission/writes.ts";
import { assertNever } from "../../../lib/assert-never.ts";
import { runSync } from "../../../lib/chunked.ts";
import type { SpecOf } from "../../../lib/kinds/registry.ts";
import { collectionOf, collections, type Kind, type ObjectName } from "../../../lib/model/names.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Named, Typed, Write } from "./script.ts";

/** Throws if the write is refused. */
export function decide(
  write: Write,
  state: State,
  context: WriteContext,
  nextGeneration: () => number,
): Decision {
  switch (write.do) {
    case "put": {
      const { kind, spec } = write;
      return putObject(state, { kind, spec: spec as unknown as SpecOf[Kind] }, context);
    }
    case "remove": {
      const { kind, name } = write;
      return deleteObject(state, { kind, name: name as ObjectName, isCascading: true }, context);
    }
    case "batch": {
      const batch = batchBody(write);
      return applyBatch(state, { batch: batch as unknown as Batch }, context);
    }
    case "set": {
      const set = { generation: nextGeneration(), ...byCollection(write.objects) };
      const checked = runSync(checkSet(set as unknown as FullSet, context.digest));
      return putFullSet(state, { set: checked }, context);
    }
    case "renew leases":
      return renewLeases(state, { eips: write.names as readonly ObjectName[] }, context);
    default:
      return assertNever(write);
  }
}

/** The body of `POST /v1/batch`. */
export function batchBody({
  put,
  remove,
}: {
  readonly put: readonly Typed[];
  readonly remove: readonly Named[];
}) {
  const names: Record<string, string[]> = {};
  for (const { kind, name } of remove) {
    const collection = collectionOf(kind);
    names[collection] = [...(names[collection] ?? []), name];
  }
  return { upsert: byCollection(put), delete: names };
}

/** The arrays of a full set. */
export function byCollection(objects: readonly Typed[]): Record<string, object[]> {
  const lists: Record<string, object[]> = Object.fromEntries(collections.map((one) => [one, []]));
  for (const { kind, spec } of objects) lists[collectionOf(kind)]?.push(spec);
  return lists;
}
