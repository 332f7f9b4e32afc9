/** The schemas of `data` of each type of event. Only for the OpenAPI document. */
import { type TSchema, Type } from "typebox";
import { ObjectNameSchema, UidSchema } from "../../../lib/model/schema.ts";
import { StatusSchema } from "../../../lib/model/status.ts";
import { anySpecSchema, objectKindSchema } from "../object-schemas.ts";
import { changeSchema, count, degradationSchema, degradedReasonSchema, share } from "../responses.ts";

const happened = { revision: count, time: Type.String({ format: "date-time" }) };
const listedChanges = {
  total: count,
  changes: Type.Array(changeSchema, { description: "The first 20" }),
};

const objectEvent = share(
  "ObjectEvent",
  Type.Object(
    {
      kind: objectKindSchema,
      name: ObjectNameSchema,
      deleted: Type.Boolean(),
      revision: Type.Integer({
        minimum: 0,
        description: "As in a list; of a deleted object that of the desired set",
      }),
      uid: Type.Optional(UidSchema),
      spec: Type.Optional(anySpecSchema),
      status: Type.Optional(StatusSchema),
    },
    {
      description: "The object as a list has it, without `usedBy`; a deleted one without `spec` and `status`",
    },
  ),
);
const driftEvent = share(
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
const repairEvent = share("RepairEvent", Type.Object({ ...happened, ...listedChanges }));
const passEvent = share(
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
      share(
        "PassError",
        Type.Object(
          { code: Type.String(), message: Type.String() },
          { description: "Why no pass could run" },
        ),
      ),
    ),
  }),
);
const degradedEvent = share(
  "DegradedEvent",
  Type.Object({
    ...happened,
    degraded: Type.Array(degradationSchema),
    added: Type.Array(degradedReasonSchema),
    removed: Type.Array(degradedReasonSchema),
  }),
);
const conflictEvent = share(
  "ConflictEvent",
  Type.Object({
    ...happened,
    kind: Type.Enum(["Eip"]),
    name: ObjectNameSchema,
    active: Type.Boolean({ description: "False: the conflict ended" }),
    message: Type.String(),
  }),
);
const resyncEvent = share(
  "ResyncEvent",
  Type.Object({
    revision: count,
    reason: Type.Enum(["epoch", "restart", "expired", "unknown"], { title: "ResyncReason" }),
    message: Type.String(),
  }),
);

/** The schemas of `data`, by type of event. */
export const eventSchemas: readonly TSchema[] = [
  objectEvent,
  driftEvent,
  repairEvent,
  passEvent,
  degradedEvent,
  conflictEvent,
  resyncEvent,
];

/** A stream of server-sent events. */
export const eventStreamAnswer: {
  readonly description: string;
  readonly content: Record<string, { schema: TSchema }>;
} = {
  description:
    "Server-sent events. `event` is object, drift, repair, pass, degraded, conflict or resync; `data` is one line of JSON, by ObjectEvent, DriftEvent, RepairEvent, PassEvent, DegradedEvent, ConflictEvent or ResyncEvent",
  content: { "text/event-stream": { schema: Type.String() } },
};
