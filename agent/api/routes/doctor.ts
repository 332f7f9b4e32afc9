/** What the agent can check by itself, and what helps. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { checkResults } from "../../../lib/doctor/doctor.ts";
import { checkNames } from "../../../lib/doctor/remedies.ts";
import type { RouteContext } from "../deps.ts";
import { requestSignal } from "../request-signal.ts";
import { responses, share } from "../responses.ts";

const deadlineMs = 60_000;

const checkSchema = share(
  "DoctorCheck",
  Type.Object({
    check: Type.Enum([...checkNames], { title: "DoctorCheckName" }),
    result: Type.Enum([...checkResults], { title: "DoctorResult" }),
    detail: Type.String(),
    remedy: Type.String({ description: "What helps; empty if nothing is wrong" }),
    objects: Type.Optional(Type.Array(Type.String(), { description: "The first 20 that are affected" })),
  }),
);

const doctorSchema = share(
  "Doctor",
  Type.Object({ checkedAt: Type.String({ format: "date-time" }), checks: Type.Array(checkSchema) }),
);

export function doctorRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get(
    "/v1/doctor",
    {
      schema: {
        operationId: "examineGateway",
        tags: ["gateway"],
        summary: "Checks everything that the agent can check by itself, and says what helps",
        response: responses({ 200: doctorSchema }),
      },
    },
    (_request, reply) => context.doctor.examine(requestSignal(reply, context.stopping, deadlineMs)),
  );
}
