/** The gateway as a whole: its status, the plan of the next pass, and starting a pass. */
import type { FastifyInstance, FastifyReply } from "fastify";
import { Type } from "typebox";
import type { RouteContext } from "../deps.ts";
import { flowDocument } from "../flow-document.ts";
import { planText, prefersText } from "../plan-text.ts";
import {
  flagParameter,
  parseFlag,
  parseWait,
  querySchema,
  revisionParameter,
  waitParameter,
} from "../query.ts";
import { requestSignal } from "../request-signal.ts";
import {
  changeSchema,
  flowListSchema,
  gatewayStatusSchema,
  passReportSchema,
  responses,
  textAnswer,
} from "../responses.ts";
import { invalid } from "../validation.ts";

interface StatusQuery {
  readonly appliedRevision?: string;
  readonly wait?: string;
}

const planDeadlineMs = 30_000;
const passDeadlineMs = 300_000;

const PlanSchema = Type.Object(
  {
    changes: Type.Array(changeSchema),
    total: Type.Integer({ minimum: 0 }),
    flows: Type.Optional(flowListSchema),
  },
  { title: "Plan" },
);
const PlanAnswer = {
  description: "The plan",
  content: { "application/json": { schema: PlanSchema }, ...textAnswer.content },
};

export function gatewayRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Querystring: StatusQuery }>(
    "/v1/status",
    {
      schema: {
        operationId: "getStatus",
        tags: ["gateway"],
        summary: "Summarises the gateway; can wait until a revision is applied",
        querystring: querySchema({
          appliedRevision: Type.Optional(revisionParameter),
          wait: Type.Optional(waitParameter),
        }),
        response: responses({ 200: gatewayStatusSchema }),
      },
    },
    async (request, reply) => {
      await untilApplied(context, reply, request.query);
      const summary = await context.answers.turns.run(context.board.summary());
      return { ...summary, version: context.version };
    },
  );

  app.get<{ Querystring: { readonly fresh?: string } }>(
    "/v1/plan",
    {
      schema: {
        operationId: "getPlan",
        tags: ["gateway"],
        summary: "Shows what the next pass would change; text with Accept: text/plain",
        querystring: querySchema({
          fresh: Type.Optional({
            ...flagParameter,
            description:
              "true: reads everything from the kernel anew, and lists flows that no object permits",
          }),
        }),
        response: responses({ 200: PlanAnswer }),
      },
    },
    async (request, reply) => {
      await context.answers.reserve(reply);
      const signal = requestSignal(reply, context.stopping, planDeadlineMs);
      const isFresh = parseFlag(request.query.fresh) === true;
      const { changes, changesTotal, flows } = isFresh
        ? await context.reconciler.audit(signal)
        : await context.reconciler.preview(context.state.current, signal);
      void reply.header("vary", "accept");
      if (!prefersText(request.headers.accept)) {
        const plan = { changes, total: changesTotal };
        return isFresh ? { ...plan, flows: { ...flows, items: flows.items.map(flowDocument) } } : plan;
      }
      const text = planText(changes, changesTotal);
      return reply
        .type("text/plain; charset=utf-8")
        .send(await context.answers.inPieces(request, reply, text));
    },
  );

  app.post(
    "/v1/reconcile",
    {
      schema: {
        operationId: "runPass",
        tags: ["gateway"],
        summary: "Runs a full pass now",
        response: responses({ 200: passReportSchema }),
      },
    },
    (_request, reply) =>
      context.reconciler.reconcile("api", requestSignal(reply, context.stopping, passDeadlineMs)),
  );
}

/** Until a pass has applied the revision, or the time is over. The answer tells which it was. */
async function untilApplied(
  { board, stopping }: RouteContext,
  reply: FastifyReply,
  { appliedRevision, wait }: StatusQuery,
): Promise<void> {
  const waitMs = parseWait(wait) ?? 0;
  if (wait !== undefined && appliedRevision === undefined)
    throw invalid([{ pointer: "/query/wait", message: "requires appliedRevision" }]);
  if (appliedRevision === undefined || waitMs === 0) return;
  const goals = { gone: [], revision: Number(appliedRevision) };
  await board.wait(goals, waitMs, requestSignal(reply, stopping, waitMs));
}
