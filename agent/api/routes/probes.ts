/** Probes and metrics, requested every few seconds. None of them reads the kernel. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "../deps.ts";
import { responses, textAnswer } from "../responses.ts";

const open = { isOpen: true, isProbe: true } as const;
const text = { 200: textAnswer };

export function probeRoutes(app: FastifyInstance, { board, metrics, settings }: RouteContext): void {
  app.get(
    "/livez",
    {
      config: open,
      schema: { operationId: "getLivez", tags: ["probes"], summary: "The process is alive", response: text },
    },
    (_request, reply) => reply.type("text/plain").send("ok\n"),
  );

  app.get(
    "/readyz",
    {
      config: open,
      schema: {
        operationId: "getReadyz",
        tags: ["probes"],
        summary: "The first full pass has verified, even if single objects failed",
        response: { ...text, 503: textAnswer },
      },
    },
    (_request, reply) =>
      board.isReady
        ? reply.type("text/plain").send("ok\n")
        : reply.code(503).type("text/plain").send("the first full pass has not verified yet\n"),
  );

  app.get(
    "/metrics",
    {
      config: { isProbe: true, isOpen: settings.metricsAccess === "open" },
      schema: {
        operationId: "getMetrics",
        tags: ["probes"],
        summary: "Metrics for Prometheus",
        response: responses(text),
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()),
  );
}
