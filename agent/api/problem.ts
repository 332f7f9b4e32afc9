/** RFC 9457 problem documents for all error responses, including errors of the framework. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { type ErrorCode, errorCodes, GatewayError, type InputIssue } from "../../lib/model/errors.ts";

/** The error codes that callers can see. All other failures are `internal` for them. `docs/api.md` lists them. */
export const publicCodes = [
  "malformed-http",
  "malformed-json",
  "unauthorized",
  "forbidden",
  "not-found",
  "method-not-allowed",
  "request-timeout",
  "conflict",
  "in-use",
  "stale-generation",
  "not-adopted",
  "gone",
  "events-expired",
  "precondition-failed",
  "too-large",
  "unsupported-media-type",
  "expectation-failed",
  "invalid",
  "rate-limited",
  "headers-too-large",
  "internal",
  "overloaded",
  "storage-unavailable",
] as const satisfies readonly ErrorCode[];

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly errors?: readonly InputIssue[];
  readonly [member: string]: unknown;
}

export const problemMediaType = "application/problem+json";

/** The names that the framework and Node give to errors caused by a caller. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_NOT_FOUND: "not-found",
  FST_ERR_BAD_URL: "not-found",
  FST_ERR_MAX_PARAM_LENGTH: "not-found",
  FST_ERR_CTP_BODY_TOO_LARGE: "too-large",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "unsupported-media-type",
  FST_ERR_CTP_EMPTY_JSON_BODY: "malformed-json",
  FST_ERR_CTP_EMPTY_TYPE: "unsupported-media-type",
  FST_ERR_CTP_INVALID_JSON_BODY: "malformed-json",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "malformed-json",
};

/** Converts anything thrown into an error whose code a caller may see. */
export function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) {
    return isPublic(error.code) ? error : internal(`${error.code}: ${error.message}`, error);
  }
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    const code = frameworkCodes[error.code];
    if (code !== undefined) return new GatewayError(code, error.message, { cause: error });
    // The framework says that the caller is at fault, with a code that is not listed here.
    if (error.code.startsWith("FST_") && isClientError(error))
      return new GatewayError("invalid", error.message, { cause: error });
  }
  return internal("The agent failed; see its log for the reason", error);
}

export function problemOf(error: GatewayError): Problem {
  const { status, title } = errorCodes[error.code];
  return {
    type: `urn:natgw:problem:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    ...(error.issues.length > 0 && { errors: error.issues }),
    ...error.details,
  };
}

const codes = new WeakMap<FastifyReply, ErrorCode>();

/** The code of the problem that was sent. `undefined` if none was. */
export function codeOf(reply: FastifyReply): ErrorCode | undefined {
  return codes.get(reply);
}

/** The only way a request fails: a document for the caller, and a line in the log. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = toGatewayError(error);
  const problem = problemOf(failure);
  codes.set(reply, problem.code);
  const facts = { method: request.method, path: pathOf(request), status: problem.status, code: problem.code };
  if (problem.status >= 500 && failure.code !== "overloaded")
    request.log.error({ ...facts, err: error }, "request failed");
  else request.log.info({ ...facts, detail: problem.detail }, "request refused");
  if (failure.code === "method-not-allowed") void reply.header("allow", allowedIn(failure));
  // Nobody reads the rest of the body, or knows where the next request begins: the connection ends with the answer.
  if (!request.raw.complete || failure.code === "malformed-http") void reply.header("connection", "close");
  if (failure.code === "overloaded") void reply.header("retry-after", "1");
  return reply.code(problem.status).type(problemMediaType).send(problem);
}

function allowedIn({ details: { allowed } }: GatewayError): string {
  return Array.isArray(allowed) ? allowed.join(", ") : "";
}

export function notFound(what: string): GatewayError {
  return new GatewayError("not-found", `${what} does not exist`);
}

/** The path without the query, which may contain data that should not be logged. */
export function pathOf(request: FastifyRequest): string {
  const query = request.url.indexOf("?");
  return query === -1 ? request.url : request.url.slice(0, query);
}

function isClientError(error: Error): boolean {
  const status = "statusCode" in error ? Number(error.statusCode) : 500;
  return status >= 400 && status < 500;
}

function internal(message: string, cause: unknown): GatewayError {
  return new GatewayError("internal", message, { cause });
}

function isPublic(code: ErrorCode): boolean {
  return publicCodes.some((known) => known === code);
}
