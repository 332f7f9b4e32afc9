/** Validation of requests. Nothing is coerced, removed or filled in. A refusal points at each error. */
import type { FastifySchemaCompiler } from "fastify";
import { Compile } from "typebox/schema";
import { GatewayError } from "../../lib/model/errors.ts";
import { explain, type PlainSchema } from "./explain.ts";

/** Issues per answer: enough to correct a file, few enough that a hostile body stays cheap. */
export const maxIssues = 100;

/** The validator compiler for Fastify. Pointers refer to the body; `/query/...` refers to the query. */
export const compileValidator: FastifySchemaCompiler<PlainSchema> = ({ schema, httpPart }) => {
  const compiled = Compile(schema);
  const base = httpPart === "body" || httpPart === undefined ? "" : `/${shortName(httpPart)}`;
  return (value: unknown) => {
    if (httpPart === "body" && (value === undefined || value === null)) {
      return { error: new GatewayError("malformed-json", "The body is empty; it must be a JSON object") };
    }
    if (compiled.Check(value)) return { value };
    const issues = explain(schema, value, base).take(maxIssues).toArray();
    return { error: invalid(issues.length > 0 ? issues : [{ pointer: base, message: "is not valid" }]) };
  };
};

export function invalid(issues: GatewayError["issues"]): GatewayError {
  const first = issues[0];
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  const where = first === undefined || first.pointer === "" ? "The body" : first.pointer;
  return new GatewayError("invalid", `${where} ${first?.message ?? "is not valid"}${more}`, { issues });
}

function shortName(httpPart: string): string {
  return httpPart === "querystring" ? "query" : httpPart;
}
