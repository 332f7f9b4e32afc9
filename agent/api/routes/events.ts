/** Events as a stream: what changed since a list was read. */
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { RouteContext } from "../deps.ts";
import type { EventStream } from "../events/event-stream.ts";
import { Frames } from "../events/frames.ts";
import { Readers } from "../events/readers.ts";
import { eventStreamAnswer } from "../events/schemas.ts";
import { type EventQuery, subscriptionOf } from "../events/subscription.ts";
import { flagParameter, querySchema } from "../query.ts";
import { responses } from "../responses.ts";

const words = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 1_024, description }));

const querystring = querySchema({
  since: words("Events after this id; or of the last time, such as 10m. Absent: from now on"),
  strict: Type.Optional(flagParameter),
  follow: Type.Optional(flagParameter),
  kind: words(
    "Only events about objects of these kinds: eip, fip, snat, dnat, limit, route; comma-separated",
  ),
  name: words("Only events about objects of these names; comma-separated"),
  type: words("Only these types; comma-separated. A resync always comes"),
});

const headers = Type.Object({
  "last-event-id": Type.Optional(Type.String({ description: "Like `since`, and before it" })),
});

export function eventRoutes(app: FastifyInstance, context: RouteContext): void {
  const { events, board, answers, stopping } = context;
  const deps = { events, board, frames: new Frames(events.epoch), turns: answers.turns };
  const readers = new Readers(deps, context.eventReaders, context.settings.readers);
  stopping.addEventListener("abort", () => readers.close("the agent is stopping"), { once: true });
  context.onRevoked(() => readers.revoke());

  app.get<{ Querystring: EventQuery; Headers: { "last-event-id"?: string } }>(
    "/v1/events",
    {
      config: { isStream: true },
      schema: {
        operationId: "streamEvents",
        tags: ["events"],
        summary: "Streams events: changed objects, passes, drift and repairs, conflicts, degraded reasons",
        querystring,
        headers,
        response: responses({ 200: eventStreamAnswer }),
      },
    },
    async (request, reply) => {
      const { revision } = context.state.current.desired;
      const subscription = subscriptionOf(request.query, request.headers["last-event-id"], events, revision);
      void reply
        .type("text/event-stream")
        .header("cache-control", "no-store")
        .header("x-accel-buffering", "no");
      if (request.method === "HEAD") return reply.send("");
      const stream = readers.open(subscription, request.identity.kind === "socket");
      probeAtEnd(request.raw.socket, stream);
      return reply.send(stream);
    },
  );
}

/** How long the peer's kernel may take to tell that nobody reads. */
const probeMs = 250;

/** A client that sends no more may go on reading. If it is gone, the next write tells; over TCP, the one after it. */
function probeAtEnd(socket: Socket, stream: EventStream): void {
  const probe = (): void => {
    stream.beat();
    setTimeout(() => stream.beat(), probeMs).unref();
  };
  if (socket.readableEnded) probe();
  else socket.once("end", probe);
  stream.once("close", () => socket.off("end", probe));
}
