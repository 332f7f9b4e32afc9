/** Ends an effect when nobody waits for it any more: the client went, the API stops, or time is up. */
import type { FastifyReply } from "fastify";

export function requestSignal(reply: FastifyReply, stopping: AbortSignal, deadlineMs: number): AbortSignal {
  const client = new AbortController();
  reply.raw.once("close", () => client.abort(new Error("the client went away")));
  return AbortSignal.any([client.signal, stopping, AbortSignal.timeout(deadlineMs)]);
}
