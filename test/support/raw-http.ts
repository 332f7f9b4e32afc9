/** A plain HTTP client: shows the chunks of an answer, and can misbehave. */
import { once } from "node:events";
import { connect, type NetConnectOpts, type Socket } from "node:net";

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
  /** Bytes of each chunk. The whole body as one if the answer had a Content-Length. */
  readonly chunks: readonly number[];
}

export async function open(where: NetConnectOpts): Promise<Socket> {
  const socket = connect(where);
  await once(socket, "connect");
  return socket;
}

export function requestText(method: string, path: string, headers: readonly string[] = []): string {
  return [`${method} ${path} HTTP/1.1`, "host: localhost", ...headers, "", ""].join("\r\n");
}

/** Sends one request on a separate connection. */
export async function ask(where: NetConnectOpts, method: string, path: string): Promise<RawAnswer> {
  const socket = await open(where);
  socket.write(requestText(method, path, ["connection: close"]));
  return readAnswer(socket);
}

/** Reads until the connection ends. */
export async function readAnswer(socket: Socket): Promise<RawAnswer> {
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece as Buffer);
  return parseAnswer(Buffer.concat(pieces));
}

/** @throws if the answer was truncated */
export function parseAnswer(bytes: Buffer): RawAnswer {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) throw new Error(`no head in ${bytes.length} bytes`);
  const head = bytes.toString("latin1", 0, end);
  const status = Number(head.split(" ")[1]);
  const rest = bytes.subarray(end + 4);
  if (!/^transfer-encoding: chunked/im.test(head)) return { status, head, body: rest, chunks: [rest.length] };
  const chunks: number[] = [];
  const bodies: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = rest.indexOf("\r\n", at);
    if (line === -1) throw new Error("the answer was truncated");
    const size = Number.parseInt(rest.toString("latin1", at, line), 16);
    if (size === 0) return { status, head, body: Buffer.concat(bodies), chunks };
    if (line + 2 + size > rest.length) throw new Error("the answer was truncated");
    chunks.push(size);
    bodies.push(rest.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
