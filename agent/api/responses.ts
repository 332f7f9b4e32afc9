/** The schemas of answers. Only for the OpenAPI document: handlers' results are sent without checking. */
import { type TSchema, Type } from "typebox";
import { recordOf } from "../../lib/kinds/registry.ts";
import { changeLabels } from "../../lib/model/change.ts";
import { errorCodes } from "../../lib/model/errors.ts";
import { type Kind, kinds } from "../../lib/model/names.ts";
import { IpSchema, ObjectNameSchema, UidSchema } from "../../lib/model/schema.ts";
import { StatusSchema } from "../../lib/model/status.ts";
import { publicCodes } from "./problem.ts";

/** Schemas that several answers use, by their name in the document. */
const shared = new Map<string, TSchema>();

/** The named schemas, each with its `$id`. Add them to the application before its routes. */
export function sharedSchemas(): readonly TSchema[] {
  return Array.from(shared, ([$id, schema]) => ({ ...schema, $id }));
}

/** Names a schema: {@link sharedSchemas}. */
export function share(name: string, schema: TSchema): TSchema {
  shared.set(name, schema);
  return ref(name);
}

function ref(name: string): TSchema {
  return Type.Unsafe({ $ref: `${name}#` });
}

export const namePath = Type.Object({ name: Type.String({ description: "The object's name" }) });

export const count = Type.Integer({ minimum: 0 });
export const status = share("Status", StatusSchema);
const strings = Type.Array(Type.String());

share(
  "Problem",
  Type.Object({
    type: Type.String(),
    title: Type.String({ description: `One of: ${titles()}` }),
    status: Type.Integer(),
    code: Type.Enum([...publicCodes]),
    detail: Type.String(),
    errors: Type.Optional(Type.Array(Type.Object({ pointer: Type.String(), message: Type.String() }))),
  }),
);

/** A text answer, whatever `Accept` says. */
export const textAnswer = { description: "Text", content: { "text/plain": { schema: Type.String() } } };

/** The header of every write. The route evaluates it; this is for the document. */
export const ifMatchHeader = Type.Object({
  "if-match": Type.Optional(
    Type.String({ description: 'The revision that the write builds on: "17", or *' }),
  ),
});

/** The answers of a route. Every other answer is a problem document. */
export function responses(schemas: Readonly<Record<number, TSchema | object>>): Record<string, unknown> {
  const problem = { content: { "application/problem+json": { schema: ref("Problem") } } };
  return { ...schemas, default: { description: "A problem (RFC 9457)", ...problem } };
}

for (const kind of kinds) {
  const { title, schema } = recordOf(kind);
  const { name: _name, uid: _uid, ...properties } = schema.properties;
  share(
    title,
    Type.Object({
      kind: Type.Enum([title]),
      name: ObjectNameSchema,
      uid: Type.Optional(UidSchema),
      spec: Type.Object(properties, { additionalProperties: false }),
      revision: count,
      status,
    }),
  );
}

/** The answer for an object of a kind. */
export function objectSchema(kind: Kind): TSchema {
  return ref(recordOf(kind).title);
}

export function listSchema(item: TSchema) {
  return Type.Object({
    items: Type.Array(item),
    revision: count,
    eventId: Type.String({
      description: "`GET /v1/events?since=` with it gives what changed since this list",
    }),
  });
}

export const writeSchema = share(
  "Written",
  Type.Object({
    revision: count,
    generation: count,
    ready: count,
    notReady: Type.Array(
      Type.Object({
        kind: Type.String(),
        name: ObjectNameSchema,
        uid: Type.Optional(UidSchema),
        spec: Type.Object({}),
        revision: count,
        status,
      }),
      { description: "The first 100" },
    ),
    notReadyTotal: count,
  }),
);

export const changeSchema = share(
  "Change",
  Type.Object({
    action: Type.Enum(["add", "remove", "replace", "set"]),
    subsystem: Type.Enum([...changeLabels]),
    object: Type.Optional(Type.String({ description: "The object that needs it, such as fips/fip-a" })),
    text: Type.String({ description: "The command of the subsystem's own tool" }),
  }),
);

const tupleSchema = Type.Object({ src: IpSchema, dst: IpSchema, sport: count, dport: count });

export const flowListSchema = share(
  "Flows",
  Type.Object({
    total: count,
    items: Type.Array(
      Type.Object({
        protocol: Type.String(),
        original: tupleSchema,
        reply: tupleSchema,
        natStatus: Type.Enum(["none", "snat", "dnat", "both"]),
      }),
    ),
  }),
);

export const previewSchema = share(
  "Preview",
  Type.Object({
    changes: Type.Array(changeSchema),
    changesTotal: count,
    flows: flowListSchema,
  }),
);

export const passReportSchema = share(
  "PassReport",
  Type.Object({
    startedAt: Type.String({ format: "date-time" }),
    took: Type.Number({ description: "Seconds" }),
    reasons: strings,
    observed: Type.Object({ rules: count, addresses: count, routes: count }),
    changed: count,
    changes: Type.Array(changeSchema),
    failed: Type.Array(
      Type.Object({
        object: Type.Optional(Type.String()),
        stage: Type.String(),
        code: Type.String(),
        message: Type.String(),
        text: Type.Optional(Type.String({ description: "What was refused, as its tool's command" })),
      }),
    ),
    flowsRemoved: count,
  }),
);

const desiredAndApplied = Type.Object({ desired: count, applied: count });

export const gatewayStatusSchema = Type.Object({
  version: Type.String(),
  epoch: Type.String(),
  degraded: Type.Array(Type.Object({ reason: Type.String(), message: Type.String() })),
  generation: desiredAndApplied,
  revision: desiredAndApplied,
  objects: Type.Record(Type.String(), Type.Object({ total: count, ready: count, notReady: count })),
  lastReconcile: Type.Union([passReportSchema, Type.Null()]),
  backend: Type.String(),
  gate: Type.Enum(["open", "closed", "unknown"], {
    description: "closed: what is not translated does not leave the VPC; for good if `untranslated` is drop",
  }),
  untranslated: Type.Enum(["forward", "drop"], { description: "The setting NATGW_UNTRANSLATED" }),
  bfdGate: Type.Enum(["open", "closed", "unknown", "off"], {
    description: "closed: BFD on the VPC interface is dropped; off: the setting NATGW_BFD_GATE",
  }),
  interfaces: Type.Record(
    Type.String(),
    Type.Object({
      name: Type.String(),
      present: Type.Boolean(),
      up: Type.Boolean(),
      mac: Type.String(),
      addresses: strings,
    }),
  ),
});

export const inventorySchema = Type.Object({
  observed: Type.Boolean({ description: "False until the first pass has read the kernel" }),
  addresses: Type.Array(
    Type.Object({
      ip: IpSchema,
      role: Type.Enum(["self", "gateway", "eip", "orphan", "conflict"]),
      interface: Type.String(),
      users: strings,
    }),
  ),
  subnets: Type.Array(Type.Object({ cidr: Type.String(), capacity: count, used: count, free: count })),
});

export const releaseSchema = Type.Object({ changes: Type.Array(changeSchema), foreignRules: strings });

function titles(): string {
  return publicCodes.map((code) => `${errorCodes[code].title} (${errorCodes[code].status})`).join("; ");
}
