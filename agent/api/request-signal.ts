/** Aborts an effect when nobody waits for it: the client disconnected, the API stops, or the time is over. */
import type { FastifyReply } from "fastify";

export function requestSignal(reply: FastifyReply, stopping: AbortSignal, deadlineMs: number): AbortSignal {
  const client = new AbortController();
  reply.raw.once("close", () => client.abort(new Error("the client disconnected")));
  return AbortSignal.any([client.signal, stopping, AbortSignal.timeout(deadlineMs)]);
}
