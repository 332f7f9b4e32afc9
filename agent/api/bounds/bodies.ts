/** What request bodies may hold, each and all together: bytes while they are read, and values once they are parsed. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { GatewayError } from "../../../lib/model/errors.ts";
import { collectGarbage } from "../../memory.ts";
import { waitsToContinue } from "../malformed.ts";
import { ByteBudget } from "./byte-budget.ts";

export interface BodyLimits {
  /** Bytes of one body. */
  readonly bytes: number;
  /** Bytes of all bodies that are larger than {@link smallBody}. */
  readonly allBytes: number;
  /** Weight of the values of one body, and of all that are parsed: 1 for a value, {@link weightOfObject} for an object or a list. */
  readonly weight: number;
  /** Milliseconds that a body waits for others. */
  readonly waitMs: number;
}

/** 50,000 objects of each kind, generously written. */
export const bodyLimits: BodyLimits = {
  bytes: 64 * 1024 * 1024,
  allBytes: 64 * 1024 * 1024,
  weight: 2_600_000,
  waitMs: 10_000,
};

/** An empty object takes more memory than a number or a short text. */
export const weightOfObject = 4;

/** A body of so few bytes counts for nothing: connections are bounded, too. */
const smallBody = 64 * 1024;
const lightBody = 20_000;

export class Bodies {
  readonly limits: BodyLimits;
  readonly #bytes: ByteBudget;
  readonly #weight: ByteBudget;
  /** Weight of what was parsed and is answered since the heap was collected. */
  #answered = 0;
  readonly #replies = new WeakMap<FastifyRequest, FastifyReply>();

  constructor(limits: Partial<BodyLimits> = {}) {
    this.limits = { ...bodyLimits, ...limits };
    this.#bytes = new ByteBudget(this.limits.allBytes, this.limits.waitMs);
    this.#weight = new ByteBudget(this.limits.weight, this.limits.waitMs);
  }

  serve(app: FastifyInstance): void {
    app.addHook("preParsing", async (request, reply, payload) => {
      this.#replies.set(request, reply);
      return payload;
    });
  }

  /** Reads a body; {@link freeBody} frees it. @throws `too-large`, `overloaded` */
  async read(request: FastifyRequest, payload: IncomingMessage): Promise<Buffer<ArrayBuffer>> {
    const declared = Number(request.headers["content-length"]);
    if (declared > this.limits.bytes) throw tooLarge(this.limits.bytes);
    if (declared > smallBody) await this.#take(this.#bytes, declared, request);
    // Only now: what is refused need not be sent.
    if (waitsToContinue(request.raw)) this.#replies.get(request)?.raw.writeContinue();
    try {
      return await this.#collect(request, payload, Number.isNaN(declared) ? undefined : declared);
    } catch (cause) {
      if (cause instanceof GatewayError) throw cause;
      throw new GatewayError("malformed-json", "The connection ended before the whole body was received", {
        cause,
      });
    }
  }

  /** Reads a body as text. @throws `too-large`, `overloaded` */
  async readText(request: FastifyRequest, payload: IncomingMessage): Promise<string> {
    const body = await this.read(request, payload);
    const text = body.toString();
    freeBody(body);
    return text;
  }

  /** To be asked before a text of that weight is parsed. @throws `too-large`, `overloaded` */
  async expect(request: FastifyRequest, weight: number): Promise<void> {
    if (weight > this.limits.weight) throw new GatewayError("too-large", "The body holds too many values");
    if (weight <= lightBody) return;
    await this.#take(this.#weight, weight, request);
    this.#replies.get(request)?.raw.once("close", () => this.#collectAfter(weight));
  }

  /** V8 lets garbage of several bodies pile up before it collects: the limit would hold for what lives alone. */
  #collectAfter(weight: number): void {
    this.#answered += weight;
    if (this.#answered < this.limits.weight) return;
    this.#answered = 0;
    setImmediate(() => void collectGarbage());
  }

  async #collect(
    request: FastifyRequest,
    payload: IncomingMessage,
    declared: number | undefined,
  ): Promise<Buffer<ArrayBuffer>> {
    // Filled as it comes: pieces would be held twice when they are put together.
    let whole = Buffer.allocUnsafeSlow(declared ?? smallBody);
    let length = 0;
    // An answer is to go out though the rest is not read.
    const iterator: AsyncIterable<Buffer> = payload.iterator({ destroyOnReturn: false });
    for await (const piece of iterator) {
      const before = length;
      length += piece.length;
      if (length > this.limits.bytes) throw tooLarge(this.limits.bytes);
      // Of one that does not say how long it is, the worst is expected.
      const isGrown = declared === undefined && before <= smallBody && length > smallBody;
      if (isGrown) await this.#take(this.#bytes, this.limits.bytes, request);
      if (length > whole.length) whole = grown(whole, length);
      piece.copy(whole, before);
    }
    return whole.subarray(0, length);
  }

  /** Until the request is answered. */
  async #take(budget: ByteBudget, amount: number, request: FastifyRequest): Promise<void> {
    const reply = this.#replies.get(request);
    if (reply === undefined) return;
    const gone = new AbortController();
    const abort = () => gone.abort();
    reply.raw.once("close", abort);
    const giveBack = await budget.take(amount, gone.signal);
    reply.raw.off("close", abort);
    if (reply.raw.destroyed) giveBack();
    else reply.raw.once("close", giveBack);
  }
}

/** A copy with room for `length` bytes and more to come. */
function grown(buffer: Buffer<ArrayBuffer>, length: number): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafeSlow(Math.max(2 * buffer.length, length));
  buffer.copy(larger);
  freeBody(buffer);
  return larger;
}

/** Frees the memory of a body at once: the collector may take its time, and the next body comes. */
export function freeBody(buffer: Buffer<ArrayBuffer>): void {
  buffer.buffer.transfer(0);
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError("too-large", `The body is larger than ${limit} bytes`);
}
