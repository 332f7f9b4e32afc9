/** Renewal of Eip leases. */
import type { FastifyInstance } from "fastify";
import { type Static, Type } from "typebox";
import { renewLeasesChunked } from "../../../lib/admission/renew-leases.ts";
import { maxObjectsPerKind, ObjectNameSchema } from "../../../lib/model/schema.ts";
import type { RouteContext } from "../deps.ts";
import { etagOf, parseIfMatch } from "../etag.ts";
import { ifMatchHeader, responses } from "../responses.ts";
import { store } from "../write.ts";

const RenewalSchema = Type.Object(
  { eips: Type.Array(ObjectNameSchema, { maxItems: maxObjectsPerKind }) },
  { additionalProperties: false, title: "LeaseRenewal" },
);

const RenewedSchema = Type.Object(
  {
    revision: Type.Integer({ minimum: 0 }),
    renewed: Type.Array(Type.String(), { description: "The Eips, as requested" }),
  },
  { title: "RenewedLeases" },
);

export function leaseRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Body: Static<typeof RenewalSchema> }>(
    "/v1/leases/renew",
    {
      schema: {
        operationId: "renewLeases",
        tags: ["leases"],
        summary: "Renews the leases of Eips; durable before the answer",
        headers: ifMatchHeader,
        body: RenewalSchema,
        response: responses({ 200: RenewedSchema }, { hasEtag: true }),
      },
    },
    async (request, reply) => {
      const { eips } = request.body;
      const ifMatch = parseIfMatch(request.headers);
      const { state, decision } = await store(context, reply, (current, facts) =>
        renewLeasesChunked(current, { eips, ifMatch }, facts),
      );
      const { revision } = state.desired;
      void reply.header("etag", etagOf(revision));
      if (decision.refusal !== undefined) throw decision.refusal;
      return { revision, renewed: eips };
    },
  );
}
