/** HTTP requests to the agent with `node:http` alone: `fetch` would take longer to load than most commands take to run. */
import { Agent, type IncomingMessage, type RequestOptions, request } from "node:http";
import type { Socket } from "node:net";

/** Where the agent is: its Unix socket, or a URL with what is needed to be let in. */
export type Target =
  | { readonly socket: string }
  | {
      /** Such as `https://10.0.0.5:9477`. `http://` is for loopback addresses. */
      readonly server: string;
      /** The file of the bearer token. It is read for every request, because tokens are renewed in place. */
      readonly tokenFile?: string | undefined;
      /** PEM files: the CA of the agent's certificate, and the client's own certificate with its key. */
      readonly ca?: string | undefined;
      readonly cert?: string | undefined;
      readonly key?: string | undefined;
    };

/** The agent could not be reached, or the connection broke before the whole answer was there. Whether a write was stored is unknown. */
export class ConnectionError extends Error {
  constructor(message: string, cause: unknown) {
    super(`${message}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "ConnectionError";
  }
}

export interface Call {
  readonly method: string;
  /** The path with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
}

/** Sends a request. The answer has its headers; its body is still to be read. @throws {@link ConnectionError} */
export type Send = (call: Call) => Promise<IncomingMessage>;

export interface Transport {
  readonly send: Send;
  /** Closes the connections. Can be called twice. */
  close(): void;
}

const connectTimeoutMs = 10_000;
/** Node closes connections that were idle for longer, so that a request seldom meets one that the agent is closing. */
const idleMs = 4_000;
const maxConnections = 16;

export async function openTransport(target: Target): Promise<Transport> {
  const pool = { keepAlive: true, maxSockets: maxConnections, timeout: idleMs };
  if ("socket" in target) {
    const agent = new Agent(pool);
    return transport(
      `unix:${target.socket}`,
      request,
      async () => ({ agent, socketPath: target.socket, ...withoutServerName }),
      agent,
    );
  }
  const { origin, hostname, port, protocol } = new URL(target.server);
  const headers = async (): Promise<Record<string, string>> =>
    target.tokenFile === undefined
      ? {}
      : { authorization: `Bearer ${(await readText(target.tokenFile)).trim()}` };
  const host = hostname.replace(/^\[|\]$/g, "");
  if (protocol === "http:") {
    const agent = new Agent(pool);
    const options = async () => ({ agent, host, port: port || 80, headers: await headers() });
    return transport(origin, request, options, agent);
  }
  const https = await import("node:https");
  const [ca, cert, key] = await Promise.all([target.ca, target.cert, target.key].map(readOptional));
  const agent = new https.Agent({ ...pool, ca, cert, key });
  const options = async () => ({ agent, host, port: port || 443, headers: await headers() });
  return transport(origin, https.request, options, agent);
}

/** Of TLS. Node would ask whether the host is an address, and compile a large regular expression for it. */
const withoutServerName = { servername: "" };

async function readOptional(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readText(path);
}

function transport(
  where: string,
  request: typeof import("node:http").request,
  options: () => Promise<RequestOptions>,
  agent: Agent,
): Transport {
  const sendOnce = async (call: Call): Promise<IncomingMessage> => {
    const { method, path, body, signal } = call;
    const fixed = await options();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const headers = { ...fixed.headers, ...call.headers, ...length };
    const sent = request({ ...fixed, method, path, signal, headers }, resolve);
    sent.once("socket", limitConnecting);
    sent.once("error", (error) => reject(Object.assign(error, { isStale: sent.reusedSocket })));
    sent.end(body);
    return promise;
  };
  return {
    async send(call) {
      try {
        return await sendOnce(call).catch((error: unknown) => {
          // The agent closed an idle connection just then. A POST may not be sent twice.
          if (isStale(error) && call.method !== "POST" && !call.signal.aborted) return sendOnce(call);
          throw error;
        });
      } catch (error) {
        throw new ConnectionError(
          `Cannot reach the agent at ${where}`,
          call.signal.aborted ? call.signal.reason : error,
        );
      }
    },
    close: () => agent.destroy(),
  };
}

function isStale(error: unknown): boolean {
  return (
    error instanceof Error &&
    "isStale" in error &&
    error.isStale === true &&
    "code" in error &&
    error.code === "ECONNRESET"
  );
}

function limitConnecting(socket: Socket): void {
  if (!socket.connecting) return;
  const timer = setTimeout(
    () => socket.destroy(new Error(`no connection within ${connectTimeoutMs} ms`)),
    connectTimeoutMs,
  );
  const stop = () => clearTimeout(timer);
  socket.once("connect", stop).once("close", stop);
}

/** The socket needs no file: a program that only uses it does not load the module. */
async function readText(path: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return readFile(path, "utf8");
}
