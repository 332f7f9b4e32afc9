/** The whole desired set: read and replace. */
import type { FastifyInstance } from "fastify";
import { checkSet, putFullSetChunked } from "../../../lib/admission/full-set.ts";
import { type FullSet, FullSetSchema } from "../../../lib/admission/requests.ts";
import { recordOf, type Spec } from "../../../lib/kinds/registry.ts";
import { collectionOf, kinds } from "../../../lib/model/names.ts";
import { type Desired, objectsOf } from "../../../lib/state/desired.ts";
import { LazyList } from "../answers/json-parts.ts";
import type { RouteContext } from "../deps.ts";
import { etagOf, isUnmodified, parseIfMatch } from "../etag.ts";
import { eventIdHeader } from "../event-id-header.ts";
import { refuseOutside } from "../listen-address.ts";
import { writtenSchema } from "../object-schemas.ts";
import { querySchema, type WriteQuery, writeParameters } from "../query.ts";
import { ifMatchHeader, ifNoneMatchHeader, noContent, responses } from "../responses.ts";
import { answerOfMany, sha256, write } from "../write.ts";

export function desiredRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get(
    "/v1/desired",
    {
      schema: {
        operationId: "getDesired",
        tags: ["desired"],
        summary: "Reads the whole desired set, in a form that can be PUT again",
        headers: ifNoneMatchHeader,
        response: responses(
          { 200: FullSetSchema, 304: noContent("Not modified") },
          { hasEtag: true, hasEventId: true },
        ),
      },
    },
    (request, reply) => {
      const { desired } = context.state.current;
      void reply.header("etag", etagOf(desired.revision)).header(eventIdHeader, context.events.id);
      if (isUnmodified(request.headers["if-none-match"], desired.revision)) return reply.code(304).send();
      return reply.send(fullSetOf(desired));
    },
  );

  app.put<{ Querystring: WriteQuery; Body: FullSet }>(
    "/v1/desired",
    {
      schema: {
        operationId: "putDesired",
        tags: ["desired"],
        summary: "Replaces the whole desired set atomically",
        headers: ifMatchHeader,
        querystring: querySchema(writeParameters),
        body: FullSetSchema,
        response: responses({ 200: writtenSchema, 202: writtenSchema }, { hasEtag: true }),
      },
    },
    async (request, reply) => {
      const ifMatch = parseIfMatch(request.headers);
      const set = await context.answers.turns.run(checkSet(request.body, sha256));
      await refuseOutside(context.settings.listen, request.body.gateway?.externalInterface);
      return write(
        context,
        reply,
        request.query,
        (state, facts) => putFullSetChunked(state, { set, ifMatch }, facts),
        answerOfMany(context),
      );
    },
  );
}

function fullSetOf(desired: Desired): Readonly<Record<string, unknown>> {
  const { generation, gateway } = desired;
  const lists = kinds
    .filter((kind) => objectsOf(desired, kind).size > 0 || !recordOf(kind).isOptionalInSet)
    .map((kind) => [collectionOf(kind), new LazyList(specsOf(objectsOf(desired, kind)))]);
  return { generation, gateway, ...Object.fromEntries(lists) };
}

function* specsOf(objects: ReadonlyMap<string, { readonly spec: Spec }>): Generator<Spec> {
  for (const { spec } of objects.values()) yield spec;
}
