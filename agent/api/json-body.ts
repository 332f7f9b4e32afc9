/** The JSON body parser: strict where a plain parser is silent, and with bounded cost. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Chunked, runSync } from "../../lib/chunked.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Turns } from "./answers/turns.ts";
import { type Bodies, weightOfObject } from "./bounds/bodies.ts";

/** Far above what any request needs. Deeper or wider values could block a parser for many seconds. */
const maxDepth = 32;
const maxEntriesPerValue = 200_000;
/** Above this many characters, each step over the text takes milliseconds. */
const longText = 64 * 1024;
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
    const text = await bodies.read(request, payload);
    if (text === "") return undefined;
    // Each step and the validator run in their own turn of the event loop: all take long with a large set.
    const isLong = text.length > longText;
    const survey = isLong ? await turns.run(surveyJson(text)) : runSync(surveyJson(text));
    if (survey.fault !== undefined) throw survey.fault;
    await bodies.expect(request, survey.weight);
    if (isLong) await turns.next();
    const value = await parsed(parse, request, text);
    if (isLong) await turns.next();
    if (survey.keys !== countKeys(value)) throw malformed("A key occurs twice in one object");
    if (isLong) await turns.next();
    return value;
  });
}

function parsed(
  parse: ReturnType<FastifyInstance["getDefaultJsonParser"]>,
  request: FastifyRequest,
  text: string,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    void parse(request, text, (error, value) => {
      if (error === null) resolve(value);
      else reject(new GatewayError("malformed-json", error.message, { cause: error }));
    });
  });
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
export function* surveyJson(text: string): Chunked<Survey> {
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
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at);
        if (at === -1) return { keys, weight };
        break;
      case colon:
        keys++;
        break;
      case comma: {
        const count = (entries[depth] ?? 0) + 1;
        entries[depth] = count;
        weight++;
        if (count > maxEntriesPerValue)
          return { keys, weight, fault: new GatewayError("too-large", "The body has too many values") };
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

/** Number of members of all objects in a parsed value. Its depth is already checked. */
export function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const isArray = Array.isArray(value);
  const members: readonly unknown[] = isArray ? value : Object.values(value);
  let keys = isArray ? 0 : members.length;
  for (const member of members) keys += countKeys(member);
  return keys;
}

const quote = 34;
const comma = 44;
const colon = 58;
const openBracket = 91;
const backslash = 92;
const closeBracket = 93;
const openBrace = 123;
const closeBrace = 125;

/** The position where the string that starts at `open` ends; -1 if it does not end. */
function endOfString(text: string, open: number): number {
  let close = text.indexOf('"', open + 1);
  while (close !== -1 && isEscaped(text, close)) close = text.indexOf('"', close + 1);
  return close;
}

/** True if an odd number of backslashes stands before the quote. */
function isEscaped(text: string, at: number): boolean {
  let slash = at - 1;
  while (text.charCodeAt(slash) === backslash) slash--;
  return (at - slash) % 2 === 0;
}

function malformed(message: string): GatewayError {
  return new GatewayError("malformed-json", message);
}
