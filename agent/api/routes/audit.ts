/** The audit log: who wrote what. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { parseDurationMs } from "../../config/values.ts";
import type { RouteContext } from "../deps.ts";
import { objectKindSchema } from "../object-schemas.ts";
import { limitParameter, parseLimit, querySchema } from "../query.ts";
import { count, problemCodeSchema, responses, share } from "../responses.ts";
import { invalid } from "../validation.ts";

const limits = { default: 100, most: 1_000 } as const;

const version = share("AuditVersion", Type.Object({ generation: count, revision: count }));
const recordSchema = share(
  "AuditRecord",
  Type.Object(
    {
      time: Type.String({ format: "date-time" }),
      identity: Type.Optional(
        share(
          "AuditIdentity",
          Type.Object({
            kind: Type.Enum(["socket", "token", "certificate", "anonymous"], { title: "IdentityKind" }),
            uid: Type.Optional(count),
            pid: Type.Optional(count),
            name: Type.Optional(Type.String({ description: "The name of the token" })),
            subject: Type.Optional(Type.String({ description: "Of the certificate" })),
          }),
        ),
      ),
      client: Type.Optional(Type.String({ description: "The address; absent on the Unix socket" })),
      method: Type.Optional(Type.String()),
      path: Type.Optional(Type.String({ description: "The first 512 characters" })),
      kind: Type.Optional(objectKindSchema),
      name: Type.Optional(Type.String()),
      query: Type.Optional(Type.Record(Type.String(), Type.String())),
      status: Type.Optional(Type.Integer()),
      code: Type.Optional(problemCodeSchema),
      before: Type.Optional(version),
      after: Type.Optional(version),
      written: Type.Optional(count),
      removed: Type.Optional(count),
      skipped: Type.Optional(
        Type.Integer({ description: "Refused requests before this one that have no record" }),
      ),
      lost: Type.Optional(Type.Integer({ description: "Records that are missing before the next one" })),
    },
    { description: "A record with `lost` has nothing else but `time`" },
  ),
);

const auditSchema = share(
  "Audit",
  Type.Object({
    enabled: Type.Boolean({ description: "False: NATGW_AUDIT_LOG is off" }),
    items: Type.Array(recordSchema),
  }),
);

export function auditRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Querystring: { limit?: string; since?: string } }>(
    "/v1/audit",
    {
      schema: {
        operationId: "listAudit",
        tags: ["audit"],
        summary: "Lists the last writes: who, what, and how they ended; the oldest first",
        querystring: querySchema({
          limit: Type.Optional(limitParameter(limits)),
          since: Type.Optional(
            Type.String({ maxLength: 64, description: "A time (RFC 3339), or a duration such as 10m" }),
          ),
        }),
        response: responses({
          200: auditSchema,
        }),
      },
    },
    async (request, reply) => {
      const limit = parseLimit(request.query.limit, limits);
      const sinceMs = parseSince(request.query.since, context.clock.now().wallMs);
      const { audit } = context;
      if (audit === undefined) return { enabled: false, items: [] };
      await context.answers.reserve(reply);
      return { enabled: true, items: await audit.read(limit, sinceMs) };
    },
  );
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

function parseSince(text: string | undefined, nowMs: number): number {
  if (text === undefined) return Number.NEGATIVE_INFINITY;
  const agoMs = parseDurationMs(text);
  if (agoMs !== undefined) return nowMs - agoMs;
  const atMs = rfc3339.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(atMs)) return atMs;
  throw invalid([
    { pointer: "/query/since", message: "must be a time (RFC 3339) or a duration such as 10m" },
  ]);
}
