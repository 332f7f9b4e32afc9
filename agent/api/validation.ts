/** Validation of requests. Nothing is coerced, removed or filled in. A refusal points at each error. */
import type { FastifySchemaCompiler, SafePromiseLike } from "fastify";
import type { Chunked } from "../../lib/chunked.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Turns } from "./answers/turns.ts";
import { type Check, compileCheck } from "./check-chunked.ts";
import { issuesChunked, type PlainSchema } from "./input-issues.ts";

/** Issues per answer: enough to correct a file, few enough that a hostile body stays cheap. */
export const maxIssues = 100;

/**
 * The validator compiler for Fastify. Pointers refer to the body; `/query/...` refers to the query. A long body is checked
 * in several turns. A schema is compiled with its first request, because most requests use few of them.
 */
export function validatorCompiler(turns: Turns): FastifySchemaCompiler<PlainSchema> {
  return ({ schema, httpPart }) => {
    let check: Check | undefined;
    const base = httpPart === "body" || httpPart === undefined ? "" : `/${shortName(httpPart)}`;
    return (value: unknown) => {
      if (httpPart === "body" && (value === undefined || value === null)) {
        return { error: new GatewayError("malformed-json", "The body is empty; it must be a JSON object") };
      }
      check ??= compileCheck(schema);
      const finding = findError(check, schema, value, base);
      const { done, value: error } = finding.next();
      if (error !== undefined && httpPart === "params") return { error: asNotFound(error) };
      return done ? { value, ...(error && { error }) } : refuse(turns.run(finding));
    };
  };
}

/** As Fastify expects it from a validator that takes its time: rejects with the error. */
function refuse(finding: Promise<GatewayError | undefined>): SafePromiseLike<void> {
  const refused = finding.then((error) => {
    if (error !== undefined) throw error;
  });
  return Object.assign(refused, { __linterBrands: "SafePromiseLike" as const });
}

function* findError(
  check: Check,
  schema: PlainSchema,
  value: unknown,
  base: string,
): Chunked<GatewayError | undefined> {
  if (yield* check(value)) return undefined;
  const issues = yield* issuesChunked(schema, value, base, maxIssues);
  return invalid(issues.length > 0 ? issues : [{ pointer: base, message: "is not valid" }]);
}

/** What a path cannot have in that place does not exist. */
function asNotFound({ issues }: GatewayError): GatewayError {
  const [issue] = issues;
  return new GatewayError(
    "not-found",
    `The path does not exist: ${issue?.pointer.split("/").at(-1)} ${issue?.message}`,
  );
}

export function invalid(issues: GatewayError["issues"]): GatewayError {
  const first = issues[0];
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  const where = first === undefined || first.pointer === "" ? "The body" : first.pointer;
  return new GatewayError("invalid", `${where} ${first?.message ?? "is not valid"}${more}`, { issues });
}

function shortName(httpPart: string): string {
  return httpPart === "querystring" ? "query" : httpPart;
}
