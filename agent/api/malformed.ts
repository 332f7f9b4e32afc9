/** Answers to what Node takes for no request at all: it would answer without a document, and into the answers before. */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type ErrorCode, GatewayError } from "../../lib/model/errors.ts";
import { problemMediaType, problemOf } from "./problem.ts";

/** What the parser and its timers say of a connection. Any other error means that there is nobody to answer. */
const codes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: "headers-too-large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "too-large",
  ERR_HTTP_REQUEST_TIMEOUT: "request-timeout",
};

/** What `Expect` Node takes for 100-continue. */
const continues = /(?:^|\W)100-continue(?:$|\W)/i;

/** True for a client that sends its body only after it was asked to. */
export function waitsToContinue({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === "1.1" && headers.expect !== undefined && continues.test(headers.expect);
}

/** The answers of one listener that are not sent yet. */
export class Underway {
  readonly all = new Set<ServerResponse>();
  /** In the order of their requests, in which they leave. */
  readonly #bySocket = new WeakMap<Socket, Set<ServerResponse>>();

  add(response: ServerResponse): void {
    const { socket } = response.req;
    const same = this.#bySocket.get(socket) ?? new Set();
    this.#bySocket.set(socket, same.add(response));
    this.all.add(response);
    response.once("close", () => {
      this.all.delete(response);
      same.delete(response);
    });
  }

  /** The last answer that a whole request waits for. */
  lastOwed(socket: Socket): ServerResponse | undefined {
    return [...(this.#bySocket.get(socket) ?? [])].findLast(({ req }) => req.complete);
  }

  /** True if what is written to the connection now is read as the answer to what was received last. */
  isNext(socket: Socket): boolean {
    const response = [...(this.#bySocket.get(socket) ?? [])].at(-1);
    if (response === undefined) return true;
    return response.socket === socket && !response.headersSent && !response.req.complete;
  }
}

/** Ends each connection of `server` with the answers that it is owed, and with what it can be told then. */
export function answerMalformed(server: Server, underway: Underway): void {
  const ending = new WeakSet<Duplex>();
  const end = (stream: Duplex, failure: GatewayError): void => {
    // Whatever comes after an error is one, too.
    if (ending.has(stream)) return;
    ending.add(stream);
    endWith(stream, underway, failure);
  };
  server.on("clientError", (error: NodeJS.ErrnoException, stream) => {
    const failure = failureOf(error);
    // Gone, or TLS that failed.
    if (failure === undefined) stream.destroy();
    else end(stream, failure);
  });
  server.on("connect", (_request: IncomingMessage, stream) => {
    // Node has taken its own listeners away.
    stream.on("error", () => stream.destroy());
    end(stream, new GatewayError("malformed-http", "CONNECT: the agent is no proxy"));
  });
}

/** Headers of which Node takes the first, while others on the way may have taken the last. */
const single: ReadonlySet<string> = new Set(["host", "authorization", "content-type"]);

/** Refuses a request that Node would refuse, or of which one header contradicts another. */
export function refuseUnmet({ httpVersion, headers, rawHeaders }: IncomingMessage): void {
  const names = rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
  const twice = names.find((name, at) => single.has(name) && names.indexOf(name) !== at);
  if (twice !== undefined) throw new GatewayError("malformed-http", `The header ${twice} occurs twice`);
  if (httpVersion !== "1.1") return;
  if (headers.host === undefined) throw new GatewayError("malformed-http", "The header Host is missing");
  if (headers.expect !== undefined && !continues.test(headers.expect))
    throw new GatewayError("expectation-failed", "The only Expect that the agent meets is 100-continue");
}

function failureOf(error: NodeJS.ErrnoException & { readonly reason?: unknown }): GatewayError | undefined {
  const { code = "", reason } = error;
  const known = codes[code];
  if (known === undefined && !code.startsWith("HPE_")) return undefined;
  return new GatewayError(
    known ?? "malformed-http",
    typeof reason === "string" ? reason : "The request did not come in time",
  );
}

function endWith(stream: Duplex, underway: Underway, failure: GatewayError): void {
  if (!(stream instanceof Socket)) return void stream.destroy();
  const owed = underway.lastOwed(stream);
  if (owed !== undefined) return void owed.once("close", () => endWith(stream, underway, failure));
  if (stream.writable && underway.isNext(stream)) stream.end(answerOf(failure));
  stream.destroySoon();
}

function answerOf(failure: GatewayError): string {
  const problem = problemOf(failure);
  const body = JSON.stringify(problem);
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `Content-Type: ${problemMediaType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
