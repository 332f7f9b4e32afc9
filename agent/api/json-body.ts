/** The JSON body parser: strict about what a silent parser would let through. */
import type { FastifyInstance } from "fastify";
import { GatewayError } from "../../lib/model/errors.ts";

/**
 * Parses `application/json`. An empty body is `undefined`: what needs one says so itself, and a DELETE whose client
 * sets the header all the same is served. A key that occurs twice in one object is refused, since the last would
 * silently win: `"eips"` written twice must not empty the gateway.
 */
export function acceptJsonOnly(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    const text = String(body);
    if (text === "") return done(null, undefined);
    void parse(request, text, (error, value) => {
      if (error !== null) done(malformed(error));
      else if (countKeysInText(text) !== countKeysInValue(value)) done(malformed());
      else done(null, value);
    });
  });
}

function malformed(cause?: Error): GatewayError {
  const detail = cause?.message ?? "A key occurs twice in one object";
  return new GatewayError("malformed-json", detail, { cause });
}

/** Members of all objects in a valid JSON text: its strings that a colon follows. */
export function countKeysInText(text: string): number {
  let keys = 0;
  let open = text.indexOf('"');
  while (open !== -1) {
    let close = text.indexOf('"', open + 1);
    while (isEscaped(text, close)) close = text.indexOf('"', close + 1);
    let next = close + 1;
    while (isSpace(text.charCodeAt(next))) next++;
    if (text.charCodeAt(next) === 58) keys++;
    open = text.indexOf('"', next);
  }
  return keys;
}

/** Members of all objects in a parsed value. A loop, not a recursion: a body may be nested as deep as it is long. */
export function countKeysInValue(root: unknown): number {
  let keys = 0;
  const open = [root];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== "object" || value === null) continue;
    const members: unknown[] = Array.isArray(value) ? value : Object.values(value);
    if (members !== value) keys += members.length;
    for (const member of members) if (typeof member === "object" && member !== null) open.push(member);
  }
  return keys;
}

/** True where an odd number of backslashes stands before the quote. */
function isEscaped(text: string, quote: number): boolean {
  let slash = quote - 1;
  while (text.charCodeAt(slash) === 92) slash--;
  return (quote - slash) % 2 === 0;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}
