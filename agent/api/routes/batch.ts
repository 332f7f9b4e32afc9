/** Several single writes as one, all or nothing. */
import type { FastifyInstance } from "fastify";
import { applyBatchChunked } from "../../../lib/admission/batch.ts";
import { type Batch, BatchSchema } from "../../../lib/admission/requests.ts";
import type { RouteContext } from "../deps.ts";
import { parseIfMatch } from "../etag.ts";
import { writtenSchema } from "../object-schemas.ts";
import { querySchema, type WriteQuery, writeParameters } from "../query.ts";
import { ifMatchHeader, responses } from "../responses.ts";
import { answerOfMany, write } from "../write.ts";

export function batchRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Querystring: WriteQuery; Body: Batch }>(
    "/v1/batch",
    {
      schema: {
        operationId: "applyBatch",
        tags: ["desired"],
        summary: "Deletes, then upserts; all or nothing",
        headers: ifMatchHeader,
        querystring: querySchema(writeParameters),
        body: BatchSchema,
        response: responses({ 200: writtenSchema, 202: writtenSchema }, { hasEtag: true }),
      },
    },
    (request, reply) => {
      const batch = request.body;
      const ifMatch = parseIfMatch(request.headers);
      return write(
        context,
        reply,
        request.query,
        (state, facts) => applyBatchChunked(state, { batch, ifMatch }, facts),
        answerOfMany(context),
      );
    },
  );
}
