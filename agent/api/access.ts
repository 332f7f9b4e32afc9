/**
 * Access control, by the listener that a request came in by. The Unix socket is protected by its file mode. On TCP a
 * request needs a token, a client certificate or both, as configured. If neither is configured, only loopback may
 * write, and the Host header must name this host.
 */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { TLSSocket } from "node:tls";
import type { FastifyRequest } from "fastify";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Listener } from "./listeners.ts";
import type { TokenFile } from "./token-file.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answered for everyone who reaches the listener, and never rate limited. */
    readonly isOpen?: boolean;
    /** Answered even where connections are so many that nothing else is. */
    readonly isProbe?: boolean;
    /** Served on the Unix socket only. */
    readonly isLocal?: boolean;
  }
}

export interface AccessRules {
  /** `undefined` for a request that was injected within the process. */
  listenerOf(request: IncomingMessage): Listener | undefined;
  readonly token: TokenFile | undefined;
}

/** @throws `forbidden`, `unauthorized` */
export async function checkAccess(rules: AccessRules, request: FastifyRequest): Promise<void> {
  // Browsers have no business here: a web page must not use the access of its visitor.
  if (request.headers.origin !== undefined) throw forbidden("Requests from web pages are refused");
  const listener = rules.listenerOf(request.raw);
  if (listener === undefined || listener.kind === "unix") return;
  if (request.routeOptions.config.isLocal === true)
    throw forbidden("This path is served on the Unix socket only");
  const isGuarded = rules.token !== undefined || listener.needsClientCertificate;
  // A page that points its own DNS name at this address (DNS rebinding) sends no Origin, but it cannot hide its name.
  if (!isGuarded && !isOwnName(request.headers.host)) {
    throw forbidden("On a listener without a token, the Host header must be an IP address or localhost");
  }
  if (request.routeOptions.config.isOpen === true) return;
  if (listener.needsClientCertificate && !hasCertificate(request)) {
    throw new GatewayError("unauthorized", "A client certificate signed by the configured CA is required");
  }
  if (rules.token !== undefined && !(await rules.token.admits(request.headers.authorization))) {
    throw new GatewayError("unauthorized", "The bearer token is missing or wrong");
  }
  if (!isGuarded && !listener.isLoopback && isWrite(request.method)) {
    throw forbidden("Writes over the network require NATGW_TOKEN_FILE or NATGW_TLS_CLIENT_CA_FILE");
  }
}

function hasCertificate(request: FastifyRequest): boolean {
  const { socket } = request.raw;
  return socket instanceof TLSSocket && socket.authorized;
}

/** An IP address or localhost, with or without a port. */
function isOwnName(host: string | undefined): boolean {
  const [, bracketed, plain] = host?.match(/^(?:\[([^\]]+)\]|([^:]*))(?::[0-9]{1,5})?$/) ?? [];
  const name = bracketed ?? plain ?? "";
  return isIP(name) !== 0 || name.toLowerCase() === "localhost";
}

function isWrite(method: string): boolean {
  return method !== "GET" && method !== "HEAD" && method !== "OPTIONS";
}

function forbidden(message: string): GatewayError {
  return new GatewayError("forbidden", message);
}
