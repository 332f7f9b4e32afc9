/**
 * Access control: who sent a request, by the listener that it came in by, and whether they may. On the Unix socket the kernel
 * tells the peer's uid. On TCP a request needs a token, a client certificate or both, as configured; only a listener on loopback
 * may be without, and there the Host header must name this host.
 */
import type { IncomingMessage } from "node:http";
import { isIP, isIPv6, type Socket } from "node:net";
import type { FastifyReply, FastifyRequest } from "fastify";
import { lesser } from "../../lib/access/role.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { PeerCredentials } from "../kernel/peer-credentials.ts";
import type { FailedAttempts } from "./bounds/failures.ts";
import type { Clients } from "./credentials/clients.ts";
import type { Tokens } from "./credentials/tokens.ts";
import { anonymous, type Caller, identityText } from "./identity.ts";
import type { Listener } from "./listeners.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answered for everyone who reaches the listener, and never rate limited. */
    readonly isOpen?: boolean;
    /** Answered even where connections are so many that nothing else is. */
    readonly isProbe?: boolean;
    /** Answered for as long as the client wants. */
    readonly isStream?: boolean;
    /** Served on the Unix socket only. */
    readonly isLocal?: boolean;
    /** A file of the status page: no secret, but not served where anybody could read what the page reads. */
    readonly isPage?: boolean;
  }
}

export interface AccessRules {
  /** `undefined` for a request that was injected within the process. */
  listenerOf(request: IncomingMessage): Listener | undefined;
  /** Who is at the other end of a Unix socket. */
  peerOf(socket: Socket): PeerCredentials | undefined;
  readonly tokens: Tokens | undefined;
  readonly clients: Clients;
  /** Who may use the Unix socket. */
  readonly socketUids: ReadonlySet<number>;
  readonly failures: FailedAttempts;
}

/** Sets the request's identity. @throws `forbidden`, `unauthorized`, `rate-limited` */
export async function checkAccess(
  rules: AccessRules,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  request.identity = anonymous;
  // Browsers have no business here: a web page must not use the access of its visitor.
  if (request.headers.origin !== undefined) throw forbidden("Requests from web pages are refused");
  const listener = rules.listenerOf(request.raw);
  if (listener === undefined) return;
  const isOpen = request.routeOptions.config.isOpen === true;
  const isGuarded = listener.kind === "unix" || rules.tokens !== undefined || listener.needsClientCertificate;
  // A page that points its own DNS name at this address (DNS rebinding) sends no Origin, but it cannot hide its name.
  if (!isGuarded && !isOwnName(request.headers.host))
    throw forbidden("On a listener without a token, the Host header must be an IP address or localhost");
  if (listener.kind === "unix") refuseRebound(request);
  if (isOpen) return;
  if (request.routeOptions.config.isPage === true) {
    // A browser cannot send a token before the page asked for it.
    if (isGuarded) return;
    throw forbidden(
      "The status page is served on the Unix socket, and on listeners that want a token or a certificate",
    );
  }
  const { identity, role } = isGuarded ? await admit(rules, listener, request, reply) : anonymousOn(listener);
  request.identity = identity;
  if (listener.kind === "tcp" && request.routeOptions.config.isLocal === true)
    throw forbidden("This path is served on the Unix socket only");
  if (role === "read" && isWrite(request.method))
    throw forbidden(`${identityText(identity)} has the role read and may not write`);
}

/**
 * A browser reaches the socket by a forwarded port only, as `localhost`. Any other name is one that a web page lets
 * resolve to this machine.
 */
function refuseRebound({ headers }: FastifyRequest): void {
  if (headers["user-agent"]?.startsWith("Mozilla/") === true && !isOwnName(headers.host))
    throw forbidden("From a browser, the Host header must be an IP address or localhost");
}

/** Only after a limited number of failures. */
async function admit(
  rules: AccessRules,
  listener: Listener,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Caller> {
  const peer = peerName(rules, listener, request);
  const waitMs = rules.failures.waitMs(peer);
  try {
    const caller = await authenticate(rules, listener, request);
    const name = identityText(caller.identity);
    if (waitMs > 0 && !rules.failures.wasAdmitted(peer, name)) throw tooManyFailures(reply, waitMs);
    rules.failures.admitted(peer, name);
    return caller;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    rules.failures.failed(peer);
    // No scheme stands for client certificates: on a listener that takes nothing else, no token helps.
    if (waitMs === 0 && error.code === "unauthorized" && rules.tokens !== undefined)
      void reply.header("www-authenticate", 'Bearer realm="natgw"');
    throw waitMs > 0 ? tooManyFailures(reply, waitMs) : error;
  }
}

function isRefusal(error: unknown): error is GatewayError {
  return error instanceof GatewayError && (error.code === "unauthorized" || error.code === "forbidden");
}

async function authenticate(
  { tokens, clients, peerOf, socketUids }: AccessRules,
  listener: Listener,
  { raw, headers }: FastifyRequest,
): Promise<Caller> {
  if (listener.kind === "unix") {
    const peer = peerOf(raw.socket);
    if (peer === undefined || !socketUids.has(peer.uid))
      throw forbidden("This user may not use the socket: its uid is not in NATGW_SOCKET_UIDS");
    return { identity: { kind: "socket", ...peer }, role: "write" };
  }
  const client = listener.needsClientCertificate ? await clients.find(raw.socket) : undefined;
  if (listener.needsClientCertificate && client === undefined)
    throw new GatewayError(
      "unauthorized",
      "A client certificate that the agent's settings admit is required",
    );
  const token = await tokens?.find(headers.authorization);
  if (tokens !== undefined && token === undefined)
    throw new GatewayError("unauthorized", "The bearer token is missing or wrong");
  // Where both are required, the token names the caller.
  if (token === undefined || client === undefined) return token ?? client ?? nobody;
  return { identity: token.identity, role: lesser(token.role, client.role) };
}

const nobody: Caller = { identity: anonymous, role: "read" };

/** Nothing that may write listens beyond loopback without credentials: the start refuses it. */
function anonymousOn({ isLoopback }: Listener): Caller {
  return isLoopback ? { identity: anonymous, role: "write" } : nobody;
}

/** Who is limited together: an address, the /64 of an IPv6 address, or a user of this machine. */
function peerName({ peerOf }: AccessRules, { kind }: Listener, request: FastifyRequest): string {
  if (kind === "unix") return `uid ${peerOf(request.raw.socket)?.uid}`;
  const { ip } = request;
  return isIPv6(ip) && !ip.includes(".") ? networkOf(ip) : ip;
}

/** The first 64 bits of an IPv6 address. */
function networkOf(ip: string): string {
  const [head = "", tail] = ip.split("::");
  const groups = (text: string | undefined) => (text === undefined || text === "" ? [] : text.split(":"));
  const before = groups(head);
  const zeros = tail === undefined ? 0 : 8 - before.length - groups(tail).length;
  const whole = [...before, ...Array.from({ length: zeros }, () => "0"), ...groups(tail)];
  return `${whole.slice(0, 4).join(":")}::/64`;
}

/** An IP address or localhost, with or without a port. */
function isOwnName(host: string | undefined): boolean {
  const [, bracketed, plain] = host?.match(/^(?:\[([^\]]+)\]|([^:]*))(?::[0-9]{1,5})?$/) ?? [];
  const name = bracketed ?? plain ?? "";
  return isIP(name) !== 0 || name.toLowerCase() === "localhost";
}

/** Whatever the path: every method that is not for reading alone. */
export function isWrite(method: string): boolean {
  return method !== "GET" && method !== "HEAD" && method !== "OPTIONS";
}

function forbidden(message: string): GatewayError {
  return new GatewayError("forbidden", message);
}

function tooManyFailures(reply: FastifyReply, waitMs: number): GatewayError {
  void reply.header("retry-after", String(Math.ceil(waitMs / 1_000)));
  return new GatewayError("rate-limited", "Too many failed attempts from this address");
}
