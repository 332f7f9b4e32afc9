/** The schemas of `data` of each type of event. Only for the OpenAPI document. */
import { type TSchema, Type } from "typebox";
import { recordOf } from "../../../lib/kinds/registry.ts";
import { degradedReasons } from "../../../lib/model/degradation.ts";
import { kinds } from "../../../lib/model/names.ts";
import { ObjectNameSchema, UidSchema } from "../../../lib/model/schema.ts";
import { changeSchema, count, share, status } from "../responses.ts";

const kind = Type.Enum(kinds.map((one) => recordOf(one).title));
const happened = { revision: count, time: Type.String({ format: "date-time" }) };
const listedChanges = {
  total: count,
  changes: Type.Array(changeSchema, { description: "The first 20" }),
};

share(
  "ObjectEvent",
  Type.Object(
    {
      kind,
      name: ObjectNameSchema,
      deleted: Type.Boolean(),
      revision: Type.Integer({
        minimum: 0,
        description: "As in a list; of a deleted object that of the desired set",
      }),
      uid: Type.Optional(UidSchema),
      spec: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: "Absent if deleted" })),
      status: Type.Optional(status),
    },
    { description: "The object as a list has it, without `usedBy`" },
  ),
);
share(
  "DriftEvent",
  Type.Object({
    ...happened,
    ...listedChanges,
    delayed: Type.Integer({
      minimum: 0,
      description: "Repairs that wait, because another program keeps undoing them",
    }),
  }),
);
share("RepairEvent", Type.Object({ ...happened, ...listedChanges }));
share(
  "PassEvent",
  Type.Object({
    ...happened,
    converged: Type.Boolean({ description: "Nothing is left to do" }),
    generation: Type.Optional(count),
    startedAt: Type.Optional(Type.String({ format: "date-time" })),
    took: Type.Optional(Type.Number({ description: "Seconds" })),
    reasons: Type.Optional(Type.Array(Type.String())),
    changed: Type.Optional(count),
    failed: Type.Optional(count),
    flowsRemoved: Type.Optional(count),
    error: Type.Optional(
      Type.Object({ code: Type.String(), message: Type.String() }, { description: "Why no pass could run" }),
    ),
  }),
);
const reason = Type.Enum([...degradedReasons]);
share(
  "DegradedEvent",
  Type.Object({
    ...happened,
    degraded: Type.Array(Type.Object({ reason, message: Type.String() })),
    added: Type.Array(reason),
    removed: Type.Array(reason),
  }),
);
share(
  "ConflictEvent",
  Type.Object({
    ...happened,
    kind: Type.Enum(["Eip"]),
    name: ObjectNameSchema,
    active: Type.Boolean({ description: "False: the conflict ended" }),
    message: Type.String(),
  }),
);
share(
  "ResyncEvent",
  Type.Object({
    revision: count,
    reason: Type.Enum(["epoch", "restart", "expired", "unknown"]),
    message: Type.String(),
  }),
);

/** A stream of server-sent events. */
export const eventStreamAnswer: {
  readonly description: string;
  readonly content: Record<string, { schema: TSchema }>;
} = {
  description:
    "Server-sent events. `event` is object, drift, repair, pass, degraded, conflict or resync; `data` is one line of JSON, by ObjectEvent, DriftEvent, RepairEvent, PassEvent, DegradedEvent, ConflictEvent or ResyncEvent",
  content: { "text/event-stream": { schema: Type.String() } },
};
