/** The schemas of answers. Only for the OpenAPI document: handlers' results are sent without checking. */
import { type TSchema, Type } from "typebox";
import { changeLabels } from "../../lib/model/change.ts";
import { degradedReasons } from "../../lib/model/degradation.ts";
import { errorCodes } from "../../lib/model/errors.ts";
import { collectionOf, kinds } from "../../lib/model/names.ts";
import { IpSchema } from "../../lib/model/schema.ts";
import { eventIdHeader } from "./event-id-header.ts";
import { publicCodes } from "./problem.ts";

/** A schema with its name in the document. */
export function share<S extends TSchema>(title: string, schema: S): S {
  return { ...schema, title };
}

export const namePath = Type.Object({ name: Type.String({ description: "The object's name" }) });

export const count = Type.Integer({ minimum: 0 });
const strings = Type.Array(Type.String());

export const problemCodeSchema = Type.Enum([...publicCodes], { title: "ProblemCode" });
const problemSchema = share(
  "Problem",
  Type.Object({
    type: Type.String(),
    title: Type.String({ description: `One of: ${titles()}` }),
    status: Type.Integer({ maximum: 599 }),
    code: problemCodeSchema,
    detail: Type.String(),
    errors: Type.Optional(
      Type.Array(share("InputError", Type.Object({ pointer: Type.String(), message: Type.String() })), {
        description: "Where the input is wrong (RFC 6901), and why",
      }),
    ),
    object: Type.Optional(Type.String({ description: "The object in the way, such as fips/fip-a" })),
    users: Type.Optional(Type.Array(Type.String(), { description: "Of `in-use`: the first 100 users" })),
    usersTotal: Type.Optional(count),
    objects: Type.Optional(Type.Array(Type.String(), { description: "Of `gone`: the first 100 objects" })),
    objectsTotal: Type.Optional(count),
    revision: Type.Optional(count),
    generation: Type.Optional(count),
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

/** The headers of a write of one object. */
export const preconditionHeaders = Type.Object({
  ...ifMatchHeader.properties,
  "if-none-match": Type.Optional(
    Type.String({
      description: "*: only if the object does not exist yet; or a revision that is not the present one",
    }),
  ),
});

/** The header of a read that may answer 304. The route evaluates it; this is for the document. */
export const ifNoneMatchHeader = Type.Object({
  "if-none-match": Type.Optional(Type.String({ description: "The ETag of the last answer" })),
});

const etag = { ETag: { type: "string", description: 'The revision of the desired set: "17"' } };
const eventId = { [eventIdHeader]: { type: "string", description: "The event before this answer" } };
const retryAfter = { "Retry-After": { type: "integer", description: "Seconds, with 429 and 503" } };

/** What a status means, where its schema does not say it. */
const meanings: Readonly<Record<string, string>> = {
  200: "Done",
  202: "Stored; the kernel is not there yet",
};

/**
 * The answers of a route, by status. Every other answer is a problem document. An answer is a schema, {@link noContent}, or an object
 * with `content` such as {@link textAnswer}.
 */
export function responses(
  answers: Readonly<Record<number, TSchema | object>>,
  { hasEtag = false, hasEventId = false }: { readonly hasEtag?: boolean; readonly hasEventId?: boolean } = {},
): Record<string, unknown> {
  const sent = { ...(hasEtag && etag), ...(hasEventId && eventId) };
  const headers = hasEtag || hasEventId ? { headers: sent } : {};
  const described = Object.entries(answers).map(([status, answer]) => {
    if ("content" in answer || ("type" in answer && answer.type === "null"))
      return [status, { ...answer, ...headers }];
    const content = { "application/json": { schema: answer } };
    return [status, { description: meanings[status] ?? "Done", content, ...headers }];
  });
  const problem = { content: { "application/problem+json": { schema: problemSchema } } };
  return {
    ...Object.fromEntries(described),
    default: { description: "A problem (RFC 9457)", headers: retryAfter, ...problem },
  };
}

/** An answer without a body. */
export function noContent(description: string): TSchema {
  return Type.Null({ description });
}

export const changeSchema = share(
  "Change",
  Type.Object({
    action: Type.Enum(["add", "remove", "replace", "set"], { title: "ChangeAction" }),
    subsystem: Type.Enum([...changeLabels], { title: "Subsystem" }),
    object: Type.Optional(Type.String({ description: "The object that needs it, such as fips/fip-a" })),
    text: Type.String({ description: "The command of the subsystem's own tool" }),
  }),
);

export const tupleSchema = share(
  "FlowTuple",
  Type.Object({ src: IpSchema, dst: IpSchema, sport: count, dport: count }),
);

const flowSchema = share(
  "Flow",
  Type.Object({
    protocol: Type.String({ description: "tcp, udp, icmp, sctp, else the number" }),
    original: tupleSchema,
    reply: tupleSchema,
    natStatus: Type.Enum(["none", "snat", "dnat", "both"], { title: "NatStatus" }),
  }),
);

export const flowListSchema = share("Flows", Type.Object({ total: count, items: Type.Array(flowSchema) }));

const previewMembers = { changes: Type.Array(changeSchema), changesTotal: count, flows: flowListSchema };

/** What a dry run adds to the answer of a write. */
export const dryRunMembers = {
  changes: Type.Optional(Type.Array(changeSchema, { description: "Of a dry run: what a pass would change" })),
  changesTotal: Type.Optional(count),
  flows: Type.Optional(flowListSchema),
};

export const previewSchema = share("Preview", Type.Object(previewMembers));

export const passReportSchema = share(
  "PassReport",
  Type.Object({
    startedAt: Type.String({ format: "date-time" }),
    took: Type.Number({ description: "Seconds" }),
    reasons: strings,
    observed: share("PassObserved", Type.Object({ rules: count, addresses: count, routes: count })),
    changed: count,
    changes: Type.Array(changeSchema),
    failed: Type.Array(
      share(
        "PassFailure",
        Type.Object({
          object: Type.Optional(Type.String()),
          stage: Type.String(),
          code: Type.String(),
          message: Type.String(),
          text: Type.Optional(Type.String({ description: "What was refused, as its tool's command" })),
        }),
      ),
    ),
    flowsRemoved: count,
  }),
);

const desiredAndApplied = share("DesiredAndApplied", Type.Object({ desired: count, applied: count }));
const objectCounts = share("ObjectCounts", Type.Object({ total: count, ready: count, notReady: count }));
const gateDescription =
  "closed: what is not translated does not leave the VPC; for good if `untranslated` is drop";

export const degradedReasonSchema = Type.Enum([...degradedReasons], { title: "DegradedReason" });
export const degradationSchema = share(
  "Degradation",
  Type.Object({ reason: degradedReasonSchema, message: Type.String() }),
);

const interfaceSchema = share(
  "InterfaceStatus",
  Type.Object({
    name: Type.String(),
    present: Type.Boolean(),
    up: Type.Boolean(),
    mac: Type.String(),
    addresses: strings,
  }),
);

export const gatewayStatusSchema = share(
  "GatewayStatus",
  Type.Object({
    version: Type.String(),
    epoch: Type.String(),
    degraded: Type.Array(degradationSchema),
    generation: desiredAndApplied,
    revision: desiredAndApplied,
    objects: share(
      "ObjectCountsByKind",
      Type.Object(Object.fromEntries(kinds.map((kind) => [collectionOf(kind), objectCounts]))),
    ),
    lastReconcile: Type.Union([passReportSchema, Type.Null()]),
    backend: Type.String(),
    gate: Type.Enum(["open", "closed", "unknown"], { title: "GateState", description: gateDescription }),
    untranslated: Type.Enum(["forward", "drop"], {
      title: "Untranslated",
      description: "The setting NATGW_UNTRANSLATED",
    }),
    bfdGate: Type.Enum(["open", "closed", "unknown", "off"], {
      title: "BfdGateState",
      description: "closed: BFD on the VPC interface is dropped; off: the setting NATGW_BFD_GATE",
    }),
    interfaces: share("InterfaceStatuses", Type.Object({ vpc: interfaceSchema, external: interfaceSchema })),
  }),
);

const inventoryAddress = share(
  "InventoryAddress",
  Type.Object({
    ip: IpSchema,
    role: Type.Enum(["self", "gateway", "eip", "orphan", "conflict"], { title: "AddressRole" }),
    interface: Type.String(),
    users: strings,
  }),
);
const inventorySubnet = share(
  "InventorySubnet",
  Type.Object({ cidr: Type.String(), capacity: count, used: count, free: count }),
);

export const inventorySchema = share(
  "Inventory",
  Type.Object({
    observed: Type.Boolean({ description: "False until the first pass has read the kernel" }),
    addresses: Type.Array(inventoryAddress),
    subnets: Type.Array(inventorySubnet),
  }),
);

export const releaseSchema = share(
  "Released",
  Type.Object({ changes: Type.Array(changeSchema), foreignRules: strings }),
);

function titles(): string {
  return publicCodes.map((code) => `${errorCodes[code].title} (${errorCodes[code].status})`).join("; ");
}
