/** The schemas of answers about flows. Like those of responses.ts, only for the OpenAPI document. */
import { Type } from "typebox";
import { gapReasons } from "../../lib/flow-log/records.ts";
import { IpSchema, ObjectNameSchema } from "../../lib/model/schema.ts";
import { topSubjects } from "../../lib/ports/top.ts";
import { count, share, tupleSchema } from "./responses.ts";

const time = Type.String({ format: "date-time" });
const unknownYet = "null: not known yet, or it does not grow";

const topClientSchema = share("TopClient", Type.Object({ ip: IpSchema, ports: count, share: Type.Number() }));

const portsDestinationSchema = share(
  "PortsDestination",
  Type.Object({
    dst: IpSchema,
    dport: count,
    protocol: Type.String(),
    live: count,
    closing: count,
    ratio: Type.Number(),
    newPerSecond: Type.Union([Type.Number(), Type.Null()], { description: unknownYet }),
    topClients: Type.Array(topClientSchema),
    secondsTo80: Type.Union([count, Type.Null()], { description: unknownYet }),
    secondsToFull: Type.Union([count, Type.Null()], { description: unknownYet }),
    additionalEipsNeeded: count,
  }),
);

export const portsSchema = share(
  "Ports",
  Type.Object({
    capacity: count,
    destinations: Type.Array(portsDestinationSchema, { description: "The worst 20" }),
    headroom: count,
    uncounted: count,
    scannedAt: time,
  }),
);

export const topSubjectSchema = Type.Enum([...topSubjects], { title: "TopSubject" });

const topItemSchema = share(
  "TopItem",
  Type.Object({
    ip: IpSchema,
    port: Type.Optional(count),
    protocol: Type.Optional(Type.String()),
    eip: Type.Optional(ObjectNameSchema),
    live: count,
    closing: count,
  }),
);

export const topSchema = share(
  "TopFlows",
  Type.Object({
    by: topSubjectSchema,
    items: Type.Array(topItemSchema),
    uncounted: count,
    scannedAt: time,
  }),
);

const bothDirections = share("FlowCounts", Type.Object({ original: count, reply: count }));

const whoItemSchema = share(
  "WhoItem",
  Type.Object({
    ip: IpSchema,
    port: count,
    direction: Type.Enum(["outward", "inward"], { title: "WhoDirection" }),
    protocol: Type.String(),
    peer: share("WhoPeer", Type.Object({ ip: IpSchema, port: count })),
    object: Type.Optional(Type.String()),
    start: Type.Union([time, Type.Null()], { description: "null: the kernel did not note it" }),
    end: Type.Union([time, Type.Null()], {
      description: "null: it lives, or endLost",
    }),
    endLost: Type.Optional(Type.Boolean({ description: "it lives no more, and the log lost when it ended" })),
    original: tupleSchema,
    reply: tupleSchema,
    packets: Type.Optional(bothDirections),
    bytes: Type.Optional(bothDirections),
  }),
);

const whoGapSchema = share(
  "WhoGap",
  Type.Object({
    since: Type.Union([time, Type.Null()]),
    until: time,
    reason: Type.Enum([...gapReasons], { title: "WhoGapReason" }),
    records: Type.Union([count, Type.Null()]),
  }),
);

const whoLogSchema = share(
  "WhoLog",
  Type.Object({
    level: Type.Enum(["off", "errors", "translations", "all"], { title: "FlowLogLevel" }),
    from: Type.Union([time, Type.Null()], { description: "null: there is no log on disk" }),
    gaps: Type.Array(whoGapSchema),
  }),
);

export const whoSchema = share(
  "Who",
  Type.Object({
    items: Type.Array(whoItemSchema),
    complete: Type.Boolean({ description: "True if every flow of that time is known" }),
    log: whoLogSchema,
  }),
);
