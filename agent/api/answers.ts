/**
 * How answers are sent. Short answers are sent at once. Long ones are sent in pieces that are generated while the
 * client reads, from immutable values. A handler returns its value and need not know which applies.
 */
import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AnswerStream } from "./answers/answer-stream.ts";
import { isSmall, jsonParts } from "./answers/json-parts.ts";
import { Pieces } from "./answers/pieces.ts";
import { type Place, type PlaceLimits, Places } from "./answers/places.ts";
import { Turns } from "./answers/turns.ts";
import { requestSignal } from "./request-signal.ts";

/** A safety limit: no request waits this long for a place. */
const deadlineMs = 60_000;

export class Answers {
  readonly turns = new Turns();
  readonly #places: Places;
  readonly #reserved = new WeakMap<FastifyReply, Place>();
  readonly #stopping: AbortSignal;

  constructor(stopping: AbortSignal, limits: Partial<PlaceLimits> = {}) {
    this.#places = new Places(limits);
    this.#stopping = stopping;
  }

  /** Replaces the serializers of `app`, whatever the schemas of the routes say. */
  serve(app: FastifyInstance): void {
    app.addHook("preSerialization", async (request, reply, payload) => {
      // This hook returns text or a stream of text, so nothing is left to serialize.
      reply.serializer((made) => made as string);
      if (isSmall(payload)) return JSON.stringify(payload);
      return this.inPieces(request, reply, jsonParts(payload));
    });
  }

  /**
   * A long answer as text in parts.
   * @throws `overloaded` if too many are in progress
   */
  async inPieces(request: FastifyRequest, reply: FastifyReply, parts: Iterable<string>): Promise<Readable> {
    if (request.method === "HEAD") return Readable.from([]);
    const place = await this.reserve(reply);
    return new AnswerStream(new Pieces(parts), this.turns, place);
  }

  /**
   * Reserves the place of a long answer in advance, for answers that already use much memory while they are computed.
   * @throws `overloaded`
   */
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
