/** Requests of commands: an answer is its body, everything else is a failure with its exit code. */
import { ConnectionError, CredentialsError, connect, noProblem, type Target } from "../client/client.ts";
import { openSocketTransport } from "../client/socket-transport.ts";
import { CliFailure, type Problem, RefusedFailure, UnavailableFailure, UsageFailure } from "./failures.ts";
import { hintsOf } from "./hints.ts";
import { silenceGuard } from "./silence.ts";

type Method = "get" | "put" | "post" | "delete";

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** The revision that a write builds on. */
  readonly ifMatch?: number | undefined;
  /** Text that is asked for in place of a document. */
  readonly accept?: string;
  /** Of a request that takes long, unless the user says otherwise. */
  readonly timeoutMs?: number;
  /** How long the agent may wait before it answers: added to the time that it has anyway. */
  readonly waitMs?: number | undefined;
  readonly signal?: AbortSignal;
}

export interface Reply<Body> {
  readonly status: number;
  readonly body: Body;
  /** The revision of the desired set, from the entity tag. */
  readonly revision: number | undefined;
}

export interface Api {
  /** Over a socket: the agent is on this machine. */
  readonly isLocal: boolean;
  /** The caller gives the type of the body. @throws CliFailure unless the answer is a 2xx */
  call<Body>(method: Method, path: string, options?: CallOptions): Promise<Reply<Body>>;
  /** The body of a GET. */
  get<Body>(path: string, options?: CallOptions): Promise<Body>;
  /** The text of a stream of events. It throws where the agent is silent for too long. */
  stream(path: string, options?: CallOptions): Promise<AsyncIterable<string>>;
  close(): void;
}

/** The replies of the client, without the types of single paths: commands choose paths at run time. */
interface AnyClient {
  readonly [method: string]: (path: string, options: object) => Promise<AnyReply>;
}
type AnyReply =
  | { readonly ok: true; readonly status: number; readonly body: unknown; readonly revision?: number }
  | { readonly ok: false; readonly status: number; readonly problem: object; readonly retryAfter?: number };
type AnyStream =
  | { readonly ok: true; readonly contentType: string; readonly text: AsyncIterable<string> }
  | Extract<AnyReply, { readonly ok: false }>;

const defaultTimeoutMs = 60_000;
/** In a stream that does not end: three times as long as the agent's heartbeats are apart. */
const leastSilenceMs = 45_000;

/**
 * @param givenTimeoutMs as the user says; absent: a minute, or what a request needs
 * @throws UsageFailure if a file of the target cannot be read
 */
export async function openApi(target: Target, givenTimeoutMs?: number): Promise<Api> {
  const connecting =
    "socket" in target ? connect(target, () => openSocketTransport(target)) : connect(target);
  const client = await connecting.catch((error: unknown) => {
    throw new UsageFailure(messageOf(error));
  });
  const anyClient = client as unknown as AnyClient;
  const anyStream = client.stream as unknown as (path: string, options: object) => Promise<AnyStream>;

  async function call<Body>(method: Method, path: string, options: CallOptions = {}): Promise<Reply<Body>> {
    const reply = await reached(target, () => anyClient[method]?.(path, requestOf(options)));
    if (!reply.ok) throw failureOf(reply, method, path);
    if (options.accept === undefined && reply.status !== 204 && !isDocument(reply.body))
      throw notTheAgent(`${method.toUpperCase()} ${path} gives ${reply.status} without a document`);
    return { status: reply.status, body: reply.body as Body, revision: reply.revision };
  }

  function requestOf({
    query,
    body,
    ifMatch,
    accept,
    signal,
    timeoutMs = defaultTimeoutMs,
    waitMs = 0,
  }: CallOptions): object {
    return {
      ...(query !== undefined && { query }),
      ...(body !== undefined && { body }),
      header: { ...(ifMatch !== undefined && { "if-match": `"${ifMatch}"` }), ...(accept && { accept }) },
      ...(signal !== undefined && { signal }),
      timeoutMs: (givenTimeoutMs ?? timeoutMs) + waitMs,
    };
  }

  return {
    isLocal: "socket" in target,
    call,
    get: async <Body>(path: string, options?: CallOptions) => (await call<Body>("get", path, options)).body,
    async stream(path, options = {}) {
      const timeoutMs = givenTimeoutMs ?? defaultTimeoutMs;
      const silence = silenceGuard(options.signal);
      silence.begin(timeoutMs);
      const request = requestOf({ ...options, signal: silence.signal });
      const reply = await reached(target, () => anyStream(path, request));
      silence.end();
      if (!reply.ok) throw failureOf(reply, "get", path);
      if (!reply.contentType.startsWith("text/event-stream"))
        throw notTheAgent(`GET ${path} gives no events`);
      const mostMs = options.query?.follow === false ? timeoutMs : Math.max(timeoutMs, leastSilenceMs);
      return silence.within(mostMs, reply.text);
    },
    close: () => client.close(),
  };
}

async function reached<R>(target: Target, request: () => Promise<R> | undefined): Promise<R> {
  try {
    const reply = await request();
    if (reply === undefined) throw new TypeError("the client has no such method");
    return reply;
  } catch (error) {
    if (error instanceof CredentialsError) throw new UsageFailure(error.message);
    if (error instanceof ConnectionError) throw new UnavailableFailure(error.message, hintsOf(error, target));
    throw error;
  }
}

function isDocument(body: unknown): boolean {
  return typeof body === "object" && body !== null && !Array.isArray(body);
}

/** True unless the answer to the plainest of requests is another program's. */
export async function isAgent(api: Api): Promise<boolean> {
  try {
    const { version, epoch } = await api.get<Readonly<Record<string, unknown>>>("/v1/status");
    return typeof version === "string" && typeof epoch === "string";
  } catch (error) {
    return error instanceof CliFailure;
  }
}

/** @param why what the answer lacks */
export function notTheAgent(why: string): UnavailableFailure {
  return new UnavailableFailure(`what answers is not the agent: ${why}`, [
    "--server or --socket leads to another program, or to a proxy that answers by itself",
  ]);
}

function failureOf(
  reply: Extract<AnyReply, { readonly ok: false }>,
  method: Method,
  path: string,
): RefusedFailure | UnavailableFailure {
  const problem = reply.problem as Problem;
  const retry = reply.retryAfter === undefined ? [] : [`try again in ${reply.retryAfter} s`];
  if (reply.status < 400) return notTheAgent(`${method.toUpperCase()} ${path} gives ${reply.status}`);
  if (reply.status >= 500) {
    return new UnavailableFailure(
      `the agent answered ${reply.status}: ${problem.detail ?? problem.title ?? "no reason given"}`,
      retry,
    );
  }
  if (problem.title === noProblem)
    return new RefusedFailure(reply.status, {
      ...problem,
      detail: `what answers is not the agent: status ${reply.status}: ${problem.detail}`,
    });
  return isUnknownPath(problem, path) || reply.status === 405
    ? new RefusedFailure(reply.status, {
        ...problem,
        detail: `the agent does not serve ${method.toUpperCase()} ${path}: it is older than this natgwctl`,
      })
    : new RefusedFailure(reply.status, problem, retry);
}

/** The agent's words for a path that it does not know. An object that does not exist is named without the path. */
function isUnknownPath({ code, detail = "" }: Problem, path: string): boolean {
  return code === "not-found" && detail.startsWith(path);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
