/**
 * How answers go out. Short ones as they are; long ones in pieces that are made while the client reads, from values that do
 * not change meanwhile. A handler returns its value and need not know which of the two it is.
 */
import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AnswerStream } from "./answers/answer-stream.ts";
import { isSmall, jsonParts } from "./answers/json-parts.ts";
import { Pieces } from "./answers/pieces.ts";
import { type Place, Places } from "./answers/places.ts";
import { Turns } from "./answers/turns.ts";
import { requestSignal } from "./request-signal.ts";

/** Nobody waits that long for a place; it is the seat belt. */
const deadlineMs = 60_000;

export class Answers {
  readonly turns = new Turns();
  readonly #places = new Places();
  readonly #reserved = new WeakMap<FastifyReply, Place>();
  readonly #stopping: AbortSignal;

  constructor(stopping: AbortSignal) {
    this.#stopping = stopping;
  }

  /** Takes over how `app` serializes, whatever the route's schemas say. */
  serve(app: FastifyInstance): void {
    app.addHook("preSerialization", async (request, reply, payload) => {
      // What this hook returns is text, or a stream of it: there is nothing left to serialize.
      reply.serializer((made) => made as string);
      if (isSmall(payload)) return JSON.stringify(payload);
      return this.inPieces(request, reply, jsonParts(payload));
    });
  }

  /** A long answer, as text in parts. @throws `overloaded` where too many are under way. */
  async inPieces(request: FastifyRequest, reply: FastifyReply, parts: Iterable<string>): Promise<Readable> {
    if (request.method === "HEAD") return Readable.from([]);
    const place = await this.reserve(reply);
    return new AnswerStream(new Pieces(parts), this.turns, place);
  }

  /** Takes the place of a long answer beforehand, where much is held for it already while it is worked out. @throws `overloaded`. */
  async reserve(reply: FastifyReply): Promise<Place> {
    const reserved = this.#reserved.get(reply);
    if (reserved !== undefined) return reserved;
    const place = await this.#places.take(requestSignal(reply, this.#stopping, deadlineMs));
    this.#reserved.set(reply, place);
    if (reply.raw.destroyed) place.release();
    else reply.raw.once("close", () => place.release());
    return place;
  }
}
