/** The schemas of answers about objects: documents of each kind, and the answers to writes. */
import { type TSchema, Type } from "typebox";
import { recordOf } from "../../lib/kinds/registry.ts";
import { type Kind, kinds } from "../../lib/model/names.ts";
import { ObjectNameSchema, UidSchema } from "../../lib/model/schema.ts";
import { StatusSchema } from "../../lib/model/status.ts";
import { count, dryRunMembers, share } from "./responses.ts";

function objectMembers(kind: TSchema, spec: TSchema) {
  return {
    kind,
    name: ObjectNameSchema,
    uid: Type.Optional(UidSchema),
    spec,
    revision: count,
    status: StatusSchema,
  };
}

function membersOf(kind: Kind) {
  const { title, schema } = recordOf(kind);
  const { name: _name, uid: _uid, ...properties } = schema.properties;
  const spec = Type.Object(properties, { title: `${title}Spec`, additionalProperties: false });
  return objectMembers(Type.Enum([title]), spec);
}

/** The answer for an object of a kind. */
export function objectSchema(kind: Kind): TSchema {
  return share(recordOf(kind).title, Type.Object(membersOf(kind)));
}

/** The answer to the write of one object. */
export function objectWrittenSchema(kind: Kind): TSchema {
  return share(`${recordOf(kind).title}Written`, Type.Object({ ...membersOf(kind), ...dryRunMembers }));
}

const eventId = Type.String({
  description: "`GET /v1/events?since=` with it gives what changed since this list",
});

export function listSchema(kind: Kind): TSchema {
  return share(
    `${recordOf(kind).title}List`,
    Type.Object({ items: Type.Array(objectSchema(kind)), revision: count, eventId }),
  );
}

/** The fields of all kinds. A field that kinds describe differently is text. */
function anySpec(): TSchema {
  const fields = new Map<string, TSchema>();
  for (const kind of kinds) {
    const { name: _name, uid: _uid, ...properties } = recordOf(kind).schema.properties;
    for (const [name, property] of Object.entries(properties)) {
      const isSame = JSON.stringify(fields.get(name) ?? property) === JSON.stringify(property);
      fields.set(name, Type.Optional(isSame ? property : Type.String()));
    }
  }
  return Type.Object(Object.fromEntries(fields), { description: "Has the fields of its kind" });
}

export const objectKindSchema = Type.Enum(
  kinds.map((kind) => recordOf(kind).title),
  { title: "ObjectKind" },
);
export const anySpecSchema = share("AnySpec", anySpec());
const anyObjectSchema = share("AnyObject", Type.Object(objectMembers(objectKindSchema, anySpecSchema)));

/** The answer to a write of many objects. */
export const writtenSchema = share(
  "Written",
  Type.Object({
    revision: count,
    generation: count,
    ready: count,
    notReady: Type.Array(anyObjectSchema, { description: "The first 100" }),
    notReadyTotal: count,
    ...dryRunMembers,
  }),
);
