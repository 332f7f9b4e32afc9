/** The sockets that one HTTP application is served on, and how they open, drain and close. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmod, lstat, mkdir, readFile, unlink } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import { connect } from "node:net";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Endpoint } from "../config/values.ts";
import type { TlsFiles } from "../config.ts";
import { formatEndpoint, isLoopbackHost } from "./listen-address.ts";

/** A way in, as far as access is judged by it. */
export interface Listener {
  readonly kind: "unix" | "tcp";
  readonly isLoopback: boolean;
  readonly needsClientCertificate: boolean;
}

/** One that is open; `address` is the socket's path, or host:port as bound. */
export interface OpenListener extends Listener {
  readonly address: string;
  readonly server: http.Server | https.Server;
  /** Answers that are not out yet. */
  readonly underway: ReadonlySet<http.ServerResponse>;
}

export type RequestHandler = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  listener: Listener,
) => void;

/** Bounds on what a peer may hold open. A response may take as long as its handler does. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16_384,
} as const;
const maxConnections = 1_024;
const sweepMs = 20;

/**
 * Listens on a unix socket that only its owner may use. A socket file that nobody answers on is removed.
 *
 * @throws `already-running` where somebody answers, `bad-config` where the path is something else.
 */
export async function listenUnix(path: string, handle: RequestHandler): Promise<OpenListener> {
  const listener: Listener = { kind: "unix", isLoopback: true, needsClientCertificate: false };
  await makeDirectory(dirname(path));
  await removeStale(path);
  const { underway, onRequest } = tracked(listener, handle);
  const server = http.createServer(limits, onRequest);
  server.maxConnections = maxConnections;
  // bind(2) happens within listen(): the file never exists with wider rights, not even for a moment.
  const umask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(umask);
  }
  await opened(server, path);
  await chmod(path, 0o600);
  return { ...listener, address: path, server, underway };
}

/** Listens on a literal address, with TLS where `tls` says so. @throws `bad-config` where the address cannot be had. */
export async function listenTcp(
  endpoint: Endpoint,
  tls: TlsFiles | undefined,
  handle: RequestHandler,
): Promise<OpenListener> {
  const listener: Listener = {
    kind: "tcp",
    isLoopback: isLoopbackHost(endpoint.host),
    needsClientCertificate: tls?.clientCaFile !== undefined,
  };
  const { underway, onRequest } = tracked(listener, handle);
  const server =
    tls === undefined
      ? http.createServer(limits, onRequest)
      : https.createServer({ ...limits, ...(await readTls(tls)) }, onRequest);
  server.maxConnections = maxConnections;
  server.listen({ host: endpoint.host, port: endpoint.port, ipv6Only: true });
  await opened(server, formatEndpoint(endpoint));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : endpoint.port;
  return { ...listener, address: formatEndpoint({ host: endpoint.host, port }), server, underway };
}

/** Takes no more connections, lets answers under way go out for `drainMs`, then cuts what is left. */
export async function closeListener({ server, underway }: OpenListener, drainMs: number): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  const deadline = setTimeout(() => server.closeAllConnections(), drainMs);
  // A connection on which nothing was ever asked does not count as idle to Node: this asks what is owed instead.
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

/**
 * Reads certificate, key and authority. Certificates are asked for, but judged request by request, so that a
 * kubelet's probe, which has none, still gets its answer.
 *
 * @throws `bad-config` where one cannot be read or they do not fit.
 */
export async function readTls(files: TlsFiles): Promise<https.ServerOptions> {
  try {
    const [cert, key, ca] = await Promise.all([
      readFile(files.certFile),
      readFile(files.keyFile),
      files.clientCaFile === undefined ? undefined : readFile(files.clientCaFile),
    ]);
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
      throw new Error("the key is not the certificate's");
    }
    createSecureContext({ cert, key, ca });
    const clients = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: false };
    return { cert, key, minVersion: "TLSv1.2", handshakeTimeout: 10_000, ...clients };
  } catch (cause) {
    throw new GatewayError("bad-config", `TLS: ${messageOf(cause)}`, { cause });
  }
}

function tracked(listener: Listener, handle: RequestHandler) {
  const underway = new Set<http.ServerResponse>();
  const onRequest = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    underway.add(response);
    response.once("close", () => underway.delete(response));
    handle(request, response, listener);
  };
  return { underway, onRequest };
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
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
    throw new GatewayError("already-running", `Somebody answers on ${path}`);
  }
  await unlink(path);
}

/** True unless the kernel says that nobody listens: a full backlog is somebody. */
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

async function opened(server: http.Server, where: string): Promise<void> {
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new GatewayError("bad-config", `Cannot listen on ${where}: ${messageOf(cause)}`, { cause });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
