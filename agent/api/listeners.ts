/** The sockets of one HTTP application: how they open, drain and close. */
import { once } from "node:events";
import { chmod, lstat, unlink } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import { connect, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Endpoint } from "../config/values.ts";
import { noteArrivals } from "../kernel/arrival.ts";
import { makeDirectories } from "../make-directories.ts";
import { openAcceptors } from "./acceptors.ts";
import type { TlsContext } from "./credentials/certificates.ts";
import { formatEndpoint, isLoopbackHost } from "./listen-address.ts";
import { answerMalformed, Underway } from "./malformed.ts";

/** A listener, as far as the access check needs it. */
export interface Listener {
  readonly kind: "unix" | "tcp";
  readonly isLoopback: boolean;
  readonly needsClientCertificate: boolean;
}

/** An open listener. `address` is the socket's path, or host:port as bound. */
export interface OpenListener extends Listener {
  readonly address: string;
  readonly server: http.Server | https.Server;
  /** They accept connections for it. */
  readonly acceptors: readonly Server[];
  /** Answers that are not sent yet. */
  readonly underway: ReadonlySet<http.ServerResponse>;
}

export type RequestHandler = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  listener: Listener,
) => void;

/** Is told of a server before it listens: connections are counted elsewhere. */
export type ServerWatch = (server: http.Server) => void;

/** Limits on what a peer can keep open. A response may take as long as its handler does. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16_384,
  // Refused with the others, with a document.
  requireHostHeader: false,
} as const;
const sweepMs = 20;
/**
 * Connections that the kernel keeps until they are accepted: a crowd that comes at once turns nobody else away (EAGAIN on a Unix
 * socket). No more than `net.core.somaxconn`, which is 4,096 since Linux 5.4.
 */
const backlog = 4_096;

/**
 * Listens on a Unix socket. Removes a stale socket file.
 *
 * @param mode who may connect: 0o600 or 0o666
 * @throws `already-running` if a process listens there, `bad-config` if the path is not a socket
 */
export async function listenUnix(
  path: string,
  mode: number,
  handle: RequestHandler,
  watch: ServerWatch,
): Promise<OpenListener> {
  const listener: Listener = { kind: "unix", isLoopback: true, needsClientCertificate: false };
  await makeDirectory(dirname(path));
  await removeStale(path);
  const underway = new Underway();
  const server = http.createServer(limits);
  serve(server, underway, listener, handle);
  watch(server);
  // bind(2) happens inside listen(): the file never exists with wider permissions.
  const umask = process.umask(0o777 & ~mode);
  try {
    server.listen({ path, backlog });
  } finally {
    process.umask(umask);
  }
  const acceptors = await opened(server, `NATGW_SOCKET: cannot listen on ${path}`);
  await chmod(path, mode);
  return { ...listener, address: path, server, acceptors, underway: underway.all };
}

/**
 * Listens on an IP address, with TLS if `tls` is given.
 *
 * @param isAdmitted false for a connection that is hung up on, such as one of unknown arrival
 * @throws `bad-config` if it cannot listen there
 */
export async function listenTcp(
  endpoint: Endpoint,
  tls: TlsContext | undefined,
  handle: RequestHandler,
  watch: ServerWatch,
  isAdmitted?: (socket: Socket) => boolean,
): Promise<OpenListener> {
  const listener: Listener = {
    kind: "tcp",
    isLoopback: isLoopbackHost(endpoint.host),
    needsClientCertificate: tls?.authority !== undefined,
  };
  const underway = new Underway();
  const server =
    tls === undefined ? http.createServer(limits) : https.createServer({ ...limits, ...tls.options });
  serve(server, underway, listener, handle);
  if (isAdmitted !== undefined) {
    server.once("listening", () => noteArrivals(server));
    server.prependListener("connection", (socket: Socket) => {
      if (!isAdmitted(socket)) socket.resetAndDestroy();
    });
  }
  watch(server);
  server.listen({ host: endpoint.host, port: endpoint.port, ipv6Only: true, backlog });
  const acceptors = await opened(server, `NATGW_LISTEN: cannot listen on ${formatEndpoint(endpoint)}`);
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : endpoint.port;
  const address = formatEndpoint({ host: endpoint.host, port });
  return { ...listener, address, server, acceptors, underway: underway.all };
}

/** Accepts no more connections, gives answers in progress `drainMs`, then closes the rest. */
export async function closeListener(
  { server, acceptors, underway }: OpenListener,
  drainMs: number,
): Promise<void> {
  if (!server.listening) return;
  const all = [server, ...acceptors];
  const closed = Promise.all(all.map((one) => once(one, "close")));
  for (const one of all) one.close();
  const deadline = setTimeout(() => server.closeAllConnections(), drainMs);
  // Node does not treat a connection without any request as idle. So close every connection without an answer in
  // progress.
  const sweep = setInterval(() => {
    if (underway.size === 0) server.closeAllConnections();
  }, sweepMs);
  try {
    await closed;
  } finally {
    clearTimeout(deadline);
    clearInterval(sweep);
  }
}

function serve(server: http.Server, underway: Underway, listener: Listener, handle: RequestHandler): void {
  const onRequest = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    underway.add(response);
    handle(request, response, listener);
  };
  server.on("request", onRequest);
  // Without this listener Node would answer 100 before anybody looked at the request.
  server.on("checkContinue", onRequest);
  // An Expect that Node does not know. The application refuses it.
  server.on("checkExpectation", onRequest);
  // A client that sent its last request may shut its side (`nc -N`): it still gets its answers.
  Object.assign(server, { httpAllowHalfOpen: true });
  // Not before: one that leaves during the handshake is gone.
  server.on("secureConnection", (stream: Socket) => {
    stream.allowHalfOpen = true;
  });
  answerMalformed(server, underway);
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await makeDirectories(path);
  } catch (cause) {
    throw new GatewayError("bad-config", `NATGW_SOCKET: ${messageOf(cause)}`, { cause });
  }
}

async function removeStale(path: string): Promise<void> {
  const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new GatewayError("bad-config", `NATGW_SOCKET: ${error.message}`, { cause: error });
  });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new GatewayError("bad-config", `NATGW_SOCKET: ${path} is not a socket`);
  if (await isAnswered(path)) {
    throw new GatewayError("already-running", `Another process listens on ${path}`);
  }
  await unlink(path);
}

/** True unless the kernel reports that no process listens. A full backlog counts as listening. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(2_000, () => socket.destroy(new Error("no answer within 2 s")));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}

/** @returns the handles that accept beside the server's own */
async function opened(server: http.Server, what: string): Promise<readonly Server[]> {
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new GatewayError("bad-config", `${what}: ${messageOf(cause)}`, { cause });
  }
  return openAcceptors(server, backlog);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
