/** What a manifest changes in the desired set. */
import { isSameSpec } from "../../lib/admission/canonical.ts";
import { recordOf, type Spec } from "../../lib/kinds/registry.ts";
import { collections, kindOfCollection } from "../../lib/model/names.ts";
import type { ObjectDifference } from "./difference-view.ts";
import type { DesiredSet } from "./documents.ts";
import type { Manifest } from "./manifest.ts";

/** Specs are compared in canonical form. Call it only with a manifest whose shape the agent accepted. */
export function differencesOf(manifest: Manifest, desired: DesiredSet): readonly ObjectDifference[] {
  const found: ObjectDifference[] =
    manifest.kind === "set" ? gatewayDifference(manifest.set.gateway, desired.gateway) : [];
  for (const collection of collections) {
    const kind = kindOfCollection(collection);
    if (kind === undefined) continue;
    const { canonical } = recordOf(kind) as { canonical(spec: Spec): Spec };
    const before = new Map(((desired[collection] ?? []) as readonly Spec[]).map((spec) => [spec.name, spec]));
    const after = new Map(
      ((manifest.specs[collection] ?? []) as readonly unknown[]).map((spec) => {
        const one = canonical(spec as Spec);
        return [one.name, one] as const;
      }),
    );
    for (const [name, spec] of after) {
      const known = before.get(name);
      const object = `${collection}/${name}`;
      if (known === undefined) found.push({ action: "add", object, fields: fieldsOf({}, spec) });
      else if (!isSameSpec(known, spec))
        found.push({ action: "replace", object, fields: fieldsOf(known, spec) });
    }
    if (manifest.kind !== "set") continue;
    for (const [name, spec] of before)
      if (!after.has(name))
        found.push({ action: "remove", object: `${collection}/${name}`, fields: fieldsOf(spec, {}) });
  }
  return found;
}

function gatewayDifference(after: unknown = {}, before: unknown = {}): ObjectDifference[] {
  const fields = fieldsOf(before as object, after as object);
  return fields.length === 0 ? [] : [{ action: "replace", object: "gateway", fields }];
}

function fieldsOf(before: object, after: object): ObjectDifference["fields"] {
  const [old, now] = [new Map(Object.entries(before)), new Map(Object.entries(after))];
  const names = [...new Set([...old.keys(), ...now.keys()])].filter((name) => name !== "name");
  return names
    .filter((name) => JSON.stringify(old.get(name)) !== JSON.stringify(now.get(name)))
    .map((name) => ({
      name,
      ...(old.has(name) && { before: old.get(name) }),
      ...(now.has(name) && { after: now.get(name) }),
    }));
}
