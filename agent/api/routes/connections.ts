/** Live flows on an EIP, read from the kernel. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { addressOf } from "../../../lib/model/ip.ts";
import { objectId, parseObjectName } from "../../../lib/model/names.ts";
import type { RouteContext } from "../deps.ts";
import { flowDocument } from "../flow-document.ts";
import { notFound } from "../problem.ts";
import { limitParameter, parseLimit, querySchema } from "../query.ts";
import { requestSignal } from "../request-signal.ts";
import { flowListSchema, namePath, responses } from "../responses.ts";

const deadlineMs = 30_000;
const limits = { default: 100, most: 1_000 } as const;

export function connectionRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Params: { name: string }; Querystring: { limit?: string } }>(
    "/v1/eips/:name/connections",
    {
      schema: {
        operationId: "listEipConnections",
        tags: ["eips"],
        summary: "Lists live flows on the EIP, both directions; counts all",
        params: namePath,
        querystring: querySchema({
          limit: Type.Optional(limitParameter(limits)),
        }),
        response: responses({ 200: flowListSchema }),
      },
    },
    async (request, reply) => {
      const limit = parseLimit(request.query.limit, limits);
      const name = parseObjectName(request.params.name);
      const eip = name === undefined ? undefined : context.state.current.desired.eips.get(name);
      if (eip === undefined) throw notFound(objectId("eip", request.params.name));
      const signal = requestSignal(reply, context.stopping, deadlineMs);
      const { total, flows } = await context.reconciler.connections(
        addressOf(eip.spec.address),
        limit,
        signal,
      );
      return { total, items: flows.map(flowDocument) };
    },
  );
}
