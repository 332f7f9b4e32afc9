/** The typed client of the agent's API. docs/controller.md shows a whole program that uses it. */
import { type Answer, ConnectionError, type OpenTransport, type Target, type Transport } from "./answer.ts";
import type { CallOptions, Method, PathOf, Problem, Refusal, Reply, RequestArguments } from "./types.ts";

export { ConnectionError, CredentialsError, type Target } from "./answer.ts";
export type { Problem, Refusal, Reply, Schema } from "./types.ts";

type Call<M extends Method> = <P extends PathOf<M>>(
  path: P,
  ...options: RequestArguments<M, P>
) => Promise<Reply<M, P>>;

/**
 * One method for each of HTTP: `client.get("/v1/eips/{name}", { path: { name: "eip-a" } })`. Every answer is a value, whatever its
 * status. They throw {@link ConnectionError} if there was none.
 */
export interface Client {
  readonly get: Call<"get">;
  readonly put: Call<"put">;
  readonly post: Call<"post">;
  readonly delete: Call<"delete">;
  /** A GET whose answer does not end: its text as it comes. Its end is the end of the iteration. Only `signal` stops it. */
  stream<P extends PathOf<"get">>(path: P, ...options: RequestArguments<"get", P>): Promise<StreamReply>;
  /** Closes the connections. Can be called twice. */
  close(): void;
}

export type StreamReply =
  | {
      readonly ok: true;
      readonly status: number;
      readonly contentType: string;
      readonly text: AsyncIterable<string>;
    }
  | Refusal;

/** Longer than the longest request, a write with `wait=5m`. */
const defaultTimeoutMs = 330_000;
/** In characters: above the longest answer, the list of 50,000 objects. */
const maxAnswer = 256 * 1024 * 1024;

/**
 * Prepares a client. Connects only when a request is sent.
 *
 * @param open another transport than the usual one, which keeps connections open
 * @throws if a file of the target cannot be read
 */
export async function connect(target: Target, open: OpenTransport = openHttp): Promise<Client> {
  const transport = await open(target);
  const call =
    (method: Method) =>
    (path: string, options: AnyOptions = {}) =>
      exchange(transport, method, path, options);
  return {
    get: call("get") as Call<"get">,
    put: call("put") as Call<"put">,
    post: call("post") as Call<"post">,
    delete: call("delete") as Call<"delete">,
    stream: ((path: string, options: AnyOptions = {}) =>
      openStream(transport, path, options)) as Client["stream"],
    close: transport.close,
  };
}

const openHttp: OpenTransport = async (target) => {
  const { openTransport } = await import("./transport.ts");
  return openTransport(target);
};

/** The options of any request. Which ones a request takes is a matter of types. */
interface AnyOptions extends CallOptions {
  readonly path?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly header?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
}

async function exchange(
  transport: Transport,
  method: Method,
  path: string,
  options: AnyOptions,
): Promise<unknown> {
  const { timeoutMs = defaultTimeoutMs, signal } = options;
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(timeoutAfter(timeoutMs)), timeoutMs);
  const either = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
  try {
    const answer = await send(transport, method, path, options, either);
    return replyOf(answer, await textOf(answer));
  } catch (error) {
    if (error instanceof ConnectionError) throw error;
    throw new ConnectionError(
      `The answer to ${method} ${path} broke off`,
      either.aborted ? either.reason : error,
    );
  } finally {
    clearTimeout(timer);
  }
}

/** With the name of what `AbortSignal.timeout` throws, and the time. */
export function timeoutAfter(ms: number): DOMException {
  return new DOMException(`timeout: no answer within ${ms / 1_000} s`, "TimeoutError");
}

async function openStream(transport: Transport, path: string, options: AnyOptions): Promise<StreamReply> {
  const signal = options.signal ?? new AbortController().signal;
  const answer = await send(transport, "get", path, options, signal);
  const { status, headers, text } = answer;
  if (!isSuccess(status)) return replyOf(answer, await textOf(answer)) as Refusal;
  return { ok: true, status, contentType: String(headers["content-type"]), text };
}

function send(
  { send }: Transport,
  method: Method,
  path: string,
  options: AnyOptions,
  signal: AbortSignal,
): Promise<Answer> {
  const { body, header = {} } = options;
  const headers: Record<string, string> = { accept: "application/json, text/*;q=0.9, */*;q=0.8" };
  if (body !== undefined)
    headers["content-type"] = typeof body === "string" ? "application/octet-stream" : "application/json";
  for (const [name, value] of Object.entries(header)) if (value !== undefined) headers[name] = value;
  return send({
    method: method.toUpperCase(),
    path: fill(path, options.path ?? {}) + queryText(options.query ?? {}),
    headers,
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    signal,
  });
}

/** Puts the parameters into `/v1/eips/{name}`. */
function fill(path: string, parameters: Readonly<Record<string, string>>): string {
  return path.replace(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(parameters[name] ?? ""));
}

function queryText(query: NonNullable<AnyOptions["query"]>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const pairs = given.map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`,
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

async function textOf({ text }: Answer): Promise<string> {
  const chunks: string[] = [];
  let length = 0;
  for await (const chunk of text) {
    length += chunk.length;
    if (length > maxAnswer) throw new Error(`it has more than ${maxAnswer} characters`);
    chunks.push(chunk);
  }
  return chunks.join("");
}

function replyOf({ status, headers }: Answer, text: string): unknown {
  const isJson = /[/+]json\b/.test(String(headers["content-type"]));
  const body: unknown = text === "" ? undefined : isJson ? JSON.parse(text) : text;
  const facts = { status, ...revisionIn(String(headers.etag)), ...retryIn(String(headers["retry-after"])) };
  if (isSuccess(status)) return { ok: true, ...facts, body };
  return { ok: false, ...facts, problem: isProblem(body) ? body : unknownProblem(status, text) };
}

/** The agent redirects nobody. 304 is an answer to `If-None-Match`. */
function isSuccess(status: number): boolean {
  return (status >= 200 && status < 300) || status === 304;
}

function revisionIn(etag: string): { readonly revision?: number } {
  const digits = /^"(\d+)"$/.exec(etag)?.[1];
  return digits === undefined ? {} : { revision: Number(digits) };
}

function retryIn(header: string): { readonly retryAfter?: number } {
  return /^\d+$/.test(header) ? { retryAfter: Number(header) } : {};
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== "object" || body === null) return false;
  const { code, detail, errors = [] } = body as Readonly<Record<string, unknown>>;
  return typeof code === "string" && typeof detail === "string" && Array.isArray(errors);
}

/** The title of a refusal that has no problem document. */
export const noProblem = "No problem document";

/** Of a proxy in between, or of `/readyz`. */
function unknownProblem(status: number, text: string): Problem {
  return {
    type: "about:blank",
    title: noProblem,
    status,
    code: "internal",
    detail: text.trim().slice(0, 1_000).replace(/\s+/g, " ") || `status ${status}`,
  };
}
