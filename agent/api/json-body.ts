/** The JSON body parser: strict where a plain parser is silent, and with bounded cost. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Chunked, runSync } from "../../lib/chunked.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Turns } from "./answers/turns.ts";
import { type Bodies, freeBody, weightOfObject } from "./bounds/bodies.ts";
import { type Parsed, type PlainParser, parseChunked } from "./json/parse-chunked.ts";
import {
  closeBrace,
  closeBracket,
  colon,
  comma,
  endOfString,
  openBrace,
  openBracket,
  quote,
} from "./json/scan.ts";
import { invalid } from "./validation.ts";

/** Far above what any request needs. Deeper or wider values could block a parser for many seconds. */
const maxDepth = 32;
const maxEntriesPerValue = 200_000;
/** Above this many bytes, each step over the text takes milliseconds. */
const longText = 64 * 1024;
/** Bytes of one text. No field takes nearly as many, and a text cannot be parsed in parts. */
const maxTextLength = 64 * 1024;
const byteOrderMark = Buffer.from("\uFEFF");
/** Some milliseconds' worth of a survey. */
const surveyedAtOnce = 500_000;

/**
 * Parses `application/json`. An empty body is `undefined`: a route that needs a body refuses it, and a DELETE with this
 * header is served. A key that occurs twice in one object is refused, because the last one would silently win: `"eips"`
 * written twice must not empty the gateway.
 */
export function acceptJsonOnly(app: FastifyInstance, bodies: Bodies, turns: Turns): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  bodies.serve(app);
  app.addContentTypeParser("application/json", async (request: FastifyRequest, payload: IncomingMessage) => {
    refuseEncoded(request);
    const text = await bodies.read(request, payload);
    try {
      if (text.length === 0) return undefined;
      const isLong = text.length > longText;
      const run = <T>(parts: Chunked<T>): T | Promise<T> => (isLong ? turns.run(parts) : runSync(parts));
      const survey = await run(surveyJson(text));
      if (survey.fault !== undefined) throw survey.fault;
      await bodies.expect(request, survey.weight);
      const { value, keys } = await run(parseJson(text, (piece) => parsed(parse, request, piece)));
      if (survey.keys !== keys) throw malformed("A key occurs twice in one object");
      // To a validator it would be the same as no body.
      if (value === null && request.routeOptions.schema?.body !== undefined)
        throw invalid([{ pointer: "", message: "must be an object" }]);
      return value;
    } finally {
      freeBody(text);
    }
  });
}

/** Compressed bodies would have another size than they say. */
function refuseEncoded({ headers }: FastifyRequest): void {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() === "identity") return;
  throw new GatewayError("unsupported-media-type", "A body with a Content-Encoding is not supported");
}

/** Parses a text with a plain parser, a long one in parts. @throws `malformed-json` */
export function* parseJson(text: Buffer, parse: PlainParser): Chunked<Parsed> {
  try {
    return yield* parseChunked(withoutMark(text), {
      parse,
      atOnce: longText,
    });
  } catch (cause) {
    throw new GatewayError("malformed-json", "The body is not valid JSON", { cause });
  }
}

function withoutMark(text: Buffer): Buffer {
  const { length } = byteOrderMark;
  return text.subarray(0, length).equals(byteOrderMark) ? text.subarray(length) : text;
}

function parsed(
  parse: ReturnType<FastifyInstance["getDefaultJsonParser"]>,
  request: FastifyRequest,
  text: string,
): unknown {
  let answer: unknown;
  // It calls back before it returns.
  void parse(request, text, (error, value) => {
    if (error !== null) throw error;
    answer = value;
  });
  return answer;
}

interface Survey {
  /**
   * Number of members of all objects, including duplicates. Correct for valid JSON; other text is refused by the
   * parser.
   */
  readonly keys: number;
  /** What the values weigh, see {@link Bodies}. */
  readonly weight: number;
  readonly fault?: GatewayError;
}

/** Scans the text once before it is parsed. */
export function* surveyJson(text: Buffer): Chunked<Survey> {
  const entries = new Uint32Array(maxDepth + 1);
  let depth = 0;
  let keys = 0;
  let weight = 0;
  let pauseAt = surveyedAtOnce;
  for (let at = 0; at < text.length; at++) {
    if (at >= pauseAt) {
      pauseAt = at + surveyedAtOnce;
      yield;
    }
    switch (text[at]) {
      case quote: {
        const end = endOfString(text, at);
        if (end === -1) return { keys, weight };
        if (end - at > maxTextLength)
          return { keys, weight, fault: tooLarge("The body has too long a text") };
        at = end;
        break;
      }
      case colon:
        keys++;
        break;
      case comma: {
        const count = (entries[depth] ?? 0) + 1;
        entries[depth] = count;
        weight++;
        if (count > maxEntriesPerValue)
          return { keys, weight, fault: tooLarge("The body has too many values") };
        break;
      }
      case openBrace:
      case openBracket:
        depth++;
        weight += weightOfObject;
        if (depth > maxDepth)
          return { keys, weight, fault: malformed(`Values are nested deeper than ${maxDepth}`) };
        entries[depth] = 0;
        break;
      case closeBrace:
      case closeBracket:
        depth = Math.max(0, depth - 1);
        break;
    }
  }
  return { keys, weight };
}

function tooLarge(message: string): GatewayError {
  return new GatewayError("too-large", message);
}

function malformed(message: string): GatewayError {
  return new GatewayError("malformed-json", message);
}
