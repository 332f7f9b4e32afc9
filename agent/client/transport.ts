/** HTTP requests to the agent with `node:http`, over connections that stay open for the next ones. */
import { Agent, type IncomingMessage, type RequestOptions, request } from "node:http";
import type { Socket } from "node:net";
import {
  type Answer,
  type Call,
  ConnectionError,
  CredentialsError,
  type Target,
  type Transport,
} from "./answer.ts";

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
  const { tokenFile } = target;
  const headers = async (): Promise<Record<string, string>> =>
    tokenFile === undefined ? {} : { authorization: `Bearer ${await tokenIn(tokenFile)}` };
  const host = hostname.replace(/^\[|\]$/g, "");
  if (protocol === "http:") {
    const agent = new Agent(pool);
    const options = async () => ({ agent, host, port: port || 80, headers: await headers() });
    return transport(origin, request, options, agent);
  }
  const https = await import("node:https");
  const [ca, cert, key] = await Promise.all([target.ca, target.cert, target.key].map(readOptional));
  await checkPems({ ca, cert, key }, target);
  const agent = new https.Agent({ ...pool, ca, cert, key });
  const options = async () => ({ agent, host, port: port || 443, headers: await headers() });
  return transport(origin, https.request, options, agent);
}

/** Of TLS. Node would ask whether the host is an address, and compile a large regular expression for it. */
const withoutServerName = { servername: "" };

async function readOptional(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readText(path);
}

interface Pems {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** Node would leave out a CA that it cannot read, and say with each request what is wrong with the others. */
async function checkPems(pems: Pems, files: Pems): Promise<void> {
  const [{ X509Certificate }, { createSecureContext }] = await Promise.all([
    import("node:crypto"),
    import("node:tls"),
  ]);
  const check = (names: string, use: () => unknown) => {
    try {
      use();
    } catch (cause) {
      throw new CredentialsError(`Cannot use ${names}`, cause);
    }
  };
  const { ca, cert, key } = pems;
  if (ca !== undefined) check(`the CA in ${files.ca}`, () => new X509Certificate(ca));
  check(`the certificate in ${files.cert} and its key in ${files.key}`, () =>
    createSecureContext({ cert, key }),
  );
}

async function tokenIn(path: string): Promise<string> {
  const text = await readText(path).catch((cause: unknown) => {
    throw new CredentialsError("Cannot read the bearer token", cause);
  });
  const token = text.trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new CredentialsError("Cannot use the bearer token", new Error(`${path} does not hold one token`));
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
        const answer = await sendOnce(call).catch((error: unknown) => {
          // The agent closed an idle connection just then. A POST may not be sent twice.
          if (isStale(error) && call.method !== "POST" && !call.signal.aborted) return sendOnce(call);
          throw error;
        });
        return answerOf(answer);
      } catch (error) {
        if (error instanceof CredentialsError) throw error;
        throw new ConnectionError(
          `Cannot reach the agent at ${where}`,
          call.signal.aborted ? call.signal.reason : error,
        );
      }
    },
    close: () => agent.destroy(),
  };
}

function answerOf(message: IncomingMessage): Answer {
  message.setEncoding("utf8");
  const { statusCode: status = 0, headers } = message;
  return { status, headers, text: wholeText(message) };
}

async function* wholeText(message: IncomingMessage): AsyncGenerator<string> {
  yield* message as AsyncIterable<string>;
  if (!message.complete) throw new Error("the connection was closed early");
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
