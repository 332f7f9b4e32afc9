/** What a report of a fault needs beside the API's own answers: the kernel in the words of its tools, and the last log lines. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { type DiagnosticPart, diagnosticParts } from "../../kernel/diagnostics.ts";
import type { RouteContext } from "../deps.ts";
import { requestSignal } from "../request-signal.ts";
import { responses, textAnswer } from "../responses.ts";

const deadlineMs = 60_000;

export function diagnosticRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Params: { part: DiagnosticPart } }>(
    "/v1/diagnostics/:part",
    {
      schema: {
        operationId: "getDiagnostics",
        tags: ["gateway"],
        summary: "A part of the kernel state as its tools print it, or the last lines of the log",
        params: Type.Object({ part: Type.Enum([...diagnosticParts], { title: "DiagnosticPart" }) }),
        response: responses({ 200: textAnswer }),
      },
    },
    async (request, reply) => {
      await context.answers.reserve(reply);
      const signal = requestSignal(reply, context.stopping, deadlineMs);
      const text = await context.diagnostics.read(request.params.part, signal);
      return reply
        .type("text/plain; charset=utf-8")
        .send(await context.answers.inPieces(request, reply, piecesOf(text)));
    },
  );
}

const pieceLength = 64 * 1024;

function* piecesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += pieceLength) yield text.slice(at, at + pieceLength);
}
