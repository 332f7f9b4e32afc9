/** Request bodies with objects of several kinds: the full set and the batch. */
import { type TSchema, Type } from "typebox";
import { recordOf, type Spec, type SpecOf, specSchemas } from "../kinds/registry.ts";
import { collectionOf, type Kind, kinds, type ObjectName } from "../model/names.ts";
import { type Gateway, GatewaySchema, maxObjectsPerKind, ObjectNameSchema } from "../model/schema.ts";

/** Specs by collection. A missing array counts as empty. */
export type SpecLists = { readonly [K in Kind as `${K}s`]?: readonly SpecOf[K][] };
type NameLists = { readonly [K in Kind as `${K}s`]?: readonly ObjectName[] };

/** The body of `PUT /v1/desired`. */
export interface FullSet extends SpecLists {
  readonly generation: number;
  readonly gateway?: Gateway;
}

/** The body of `POST /v1/batch`. */
export interface Batch {
  readonly upsert?: SpecLists;
  readonly delete?: NameLists;
}

export function specsIn(lists: SpecLists, kind: Kind): readonly Spec[] {
  return lists[collectionOf(kind)] ?? [];
}

const closed = { additionalProperties: false } as const;

function listOf(schema: TSchema): TSchema {
  return Type.Array(schema, { maxItems: maxObjectsPerKind });
}

function specList(kind: Kind): TSchema {
  return listOf({ ...specSchemas[kind], title: `${recordOf(kind).title}Entry` });
}

function fullList(kind: Kind): TSchema {
  const list = specList(kind);
  return recordOf(kind).isOptionalInSet ? Type.Optional(list) : list;
}

function byCollection(make: (kind: Kind) => TSchema): Record<string, TSchema> {
  return Object.fromEntries(kinds.map((kind) => [collectionOf(kind), make(kind)]));
}

/** The whole set: an array for each kind. Arrays of optional kinds may be missing. */
export const FullSetSchema = Type.Unsafe<FullSet>(
  Type.Object(
    {
      generation: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
      gateway: Type.Optional(GatewaySchema),
      ...byCollection(fullList),
    },
    { ...closed, title: "DesiredSet" },
  ),
);

export const BatchSchema = Type.Unsafe<Batch>(
  Type.Object(
    {
      upsert: Type.Optional(
        Type.Object(
          byCollection((kind) => Type.Optional(specList(kind))),
          { ...closed, title: "BatchUpsert" },
        ),
      ),
      delete: Type.Optional(
        Type.Object(
          byCollection(() => Type.Optional(listOf(ObjectNameSchema))),
          { ...closed, title: "BatchDelete" },
        ),
      ),
    },
    { ...closed, title: "Batch" },
  ),
);
