/** What a manifest changes in the desired set. */
import { isSameSpec } from "../../lib/admission/canonical.ts";
import { recordOf, type Spec } from "../../lib/kinds/registry.ts";
import { collections, kindOfCollection } from "../../lib/model/names.ts";
import { counted } from "../../lib/text/quantities.ts";
import { type Column, lines, type Section, type Style, table } from "../../lib/text/view.ts";
import type { DesiredSet } from "./documents.ts";
import type { Manifest } from "./manifest.ts";
import { value } from "./objects.ts";

export interface ObjectDifference {
  readonly action: "add" | "remove" | "replace";
  readonly object: string;
  /** The members that differ: of a new or removed object all. */
  readonly fields: readonly { readonly name: string; readonly before?: unknown; readonly after?: unknown }[];
}

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

const signs: Readonly<Record<ObjectDifference["action"], readonly [string, Style]>> = {
  add: ["+", "good"],
  remove: ["-", "bad"],
  replace: ["~", "warn"],
};

const columns: readonly Column<ObjectDifference>[] = [
  {
    head: "",
    cell: ({ action }) => {
      const [text, style] = signs[action];
      return { text, style };
    },
  },
  { head: "OBJECT", cell: ({ object }) => object, gives: "middle" },
  { head: "FIELDS", cell: fieldText, gives: "wrap" },
];

function fieldText({ action, fields }: ObjectDifference): string {
  return fields
    .map(({ name, before, after }) => {
      if (action !== "replace") return `${name}: ${value(action === "add" ? after : before)}`;
      return `${name}: ${value(before)} -> ${value(after)}`;
    })
    .join(", ");
}

/** The first `most`, and how many more there are. */
export function differenceSections(all: readonly ObjectDifference[], most: number): readonly Section[] {
  const shown = all.slice(0, most);
  const more = all.length - shown.length;
  return [
    { block: table(columns, shown) },
    ...(more > 0
      ? [{ block: lines({ text: `and ${counted(more, "more object")}: -o wide shows all`, style: "dim" }) }]
      : []),
  ];
}
