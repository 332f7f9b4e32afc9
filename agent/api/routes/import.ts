/** Reads the kernel as a set, and takes it over on request. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { FullSetSchema } from "../../../lib/admission/requests.ts";
import type { RouteContext } from "../deps.ts";
import { etagOf, parseIfMatch } from "../etag.ts";
import { flagParameter, parseFlag, querySchema } from "../query.ts";
import { requestSignal } from "../request-signal.ts";
import { ifMatchHeader, responses } from "../responses.ts";

const deadlineMs = 30_000;

const text = (description: string) => Type.String({ description });

const UnreadSchema = Type.Object(
  {
    what: text("A rule, element, address or route as its tool prints it"),
    where: text("The chain, map or table that holds it"),
    why: text("Why it is not part of the set"),
  },
  { title: "Unread" },
);
const ImportAnswer = Type.Object(
  {
    set: FullSetSchema,
    unread: Type.Array(UnreadSchema, { description: "What the set does not contain" }),
  },
  { title: "ImportedState" },
);

const ImportQuery = querySchema({
  from: Type.Enum(["kernel"], { description: "What to read" }),
  adopt: Type.Optional(flagParameter),
});

export function importRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Querystring: { readonly from: "kernel"; readonly adopt?: string } }>(
    "/v1/import",
    {
      schema: {
        operationId: "importState",
        tags: ["gateway"],
        summary: "Reads the live state as a set; adopt=true takes it over as the desired set",
        headers: ifMatchHeader,
        querystring: ImportQuery,
        response: responses({ 200: ImportAnswer }, { hasEtag: true }),
      },
    },
    async (request, reply) => {
      const ifMatch = parseIfMatch(request.headers);
      const isAdopted = parseFlag(request.query.adopt) === true;
      await context.answers.reserve(reply);
      const signal = requestSignal(reply, context.stopping, deadlineMs);
      const before = context.state.current.desired;
      const { set, unread, state } = await context.reconciler.importLive(isAdopted, ifMatch, signal);
      context.trail.note(reply, { before, after: state.desired });
      const { revision, generation } = state.desired;
      // A PUT of this set has a newer generation than the accepted one.
      return reply
        .header("etag", etagOf(revision))
        .send({ set: { generation: generation + 1, ...set }, unread });
    },
  );
}
