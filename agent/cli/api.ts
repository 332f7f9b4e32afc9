/** Requests of commands: an answer is its body, everything else is a failure with its exit code. */
import { ConnectionError, CredentialsError, connect, type Target } from "../client/client.ts";
import { openSocketTransport } from "../client/socket-transport.ts";
import { type Problem, RefusedFailure, UnavailableFailure, UsageFailure } from "./failures.ts";

type Method = "get" | "put" | "post" | "delete";

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** The revision that a write builds on. */
  readonly ifMatch?: number | undefined;
  readonly accept?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Reply<Body> {
  readonly status: number;
  readonly body: Body;
  /** The revision of the desired set, from the entity tag. */
  readonly revision: number | undefined;
}

export interface Api {
  /** The caller gives the type of the body. @throws CliFailure unless the answer is a 2xx */
  call<Body>(method: Method, path: string, options?: CallOptions): Promise<Reply<Body>>;
  /** The body of a GET. */
  get<Body>(path: string, options?: CallOptions): Promise<Body>;
  /** The text of an answer that does not end. */
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
  | { readonly ok: true; readonly text: AsyncIterable<string> }
  | Extract<AnyReply, { readonly ok: false }>;

/** @throws UsageFailure if a file of the target cannot be read */
export async function openApi(target: Target, defaultTimeoutMs: number): Promise<Api> {
  const connecting =
    "socket" in target ? connect(target, () => openSocketTransport(target)) : connect(target);
  const client = await connecting.catch((error: unknown) => {
    throw new UsageFailure(messageOf(error));
  });
  const anyClient = client as unknown as AnyClient;
  const anyStream = client.stream as unknown as (path: string, options: object) => Promise<AnyStream>;

  async function call<Body>(method: Method, path: string, options: CallOptions = {}): Promise<Reply<Body>> {
    const reply = await reached(() => anyClient[method]?.(path, requestOf(options)));
    if (!reply.ok) throw failureOf(reply, method, path);
    return { status: reply.status, body: reply.body as Body, revision: reply.revision };
  }

  function requestOf({ query, body, ifMatch, accept, signal, timeoutMs }: CallOptions): object {
    return {
      ...(query !== undefined && { query }),
      ...(body !== undefined && { body }),
      header: { ...(ifMatch !== undefined && { "if-match": `"${ifMatch}"` }), ...(accept && { accept }) },
      ...(signal !== undefined && { signal }),
      timeoutMs: timeoutMs ?? defaultTimeoutMs,
    };
  }

  return {
    call,
    get: async <Body>(path: string, options?: CallOptions) => (await call<Body>("get", path, options)).body,
    async stream(path, options = {}) {
      const reply = await reached(() => anyStream(path, requestOf(options)));
      if (!reply.ok) throw failureOf(reply, "get", path);
      return reply.text;
    },
    close: () => client.close(),
  };
}

async function reached<R>(request: () => Promise<R> | undefined): Promise<R> {
  try {
    const reply = await request();
    if (reply === undefined) throw new TypeError("the client has no such method");
    return reply;
  } catch (error) {
    if (error instanceof CredentialsError) throw new UsageFailure(error.message);
    if (error instanceof ConnectionError) throw new UnavailableFailure(error.message, hintsOf(error));
    throw error;
  }
}

/** What usually is the reason. */
function hintsOf({ cause }: ConnectionError): readonly string[] {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  switch (code) {
    case "ENOENT":
      return ["no socket is there: the agent does not run, or --socket (NATGW_SOCKET) names another path"];
    case "ECONNREFUSED":
      return ["nobody listens there: the agent does not run, or is just starting"];
    case "EACCES":
      return ["the socket is only for its owner: run natgwctl as root"];
    default:
      return [];
  }
}

function failureOf(
  reply: Extract<AnyReply, { readonly ok: false }>,
  method: Method,
  path: string,
): RefusedFailure | UnavailableFailure {
  const problem = reply.problem as Problem;
  if (reply.status >= 500) {
    const retry = reply.retryAfter === undefined ? [] : [`try again in ${reply.retryAfter} s`];
    return new UnavailableFailure(
      `the agent answered ${reply.status}: ${problem.detail ?? problem.title ?? "no reason given"}`,
      retry,
    );
  }
  return isUnknownPath(problem, path) || reply.status === 405
    ? new RefusedFailure(reply.status, {
        ...problem,
        detail: `the agent does not serve ${method.toUpperCase()} ${path}: it is older than this natgwctl`,
      })
    : new RefusedFailure(reply.status, problem);
}

/** The agent's words for a path that it does not know. An object that does not exist is named without the path. */
function isUnknownPath({ code, detail = "" }: Problem, path: string): boolean {
  return code === "not-found" && detail.startsWith(path);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
