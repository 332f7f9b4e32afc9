/** The HTTP API: one Fastify instance, served on a Unix socket and on any number of TCP listeners. */
import { EventEmitter } from "node:events";
import type { IncomingMessage, Server } from "node:http";
import { Server as HttpsServer } from "node:https";
import type { FastifyInstance } from "fastify";
import type { Degradation } from "../../lib/model/degradation.ts";
import type { TlsFiles } from "../config.ts";
import { readInterfaceAddresses } from "../kernel/network/interface-addresses.ts";
import { readPeerCredentials } from "../kernel/peer-credentials.ts";
import { Answers } from "./answers.ts";
import { buildApp } from "./app.ts";
import { AuditTrail } from "./audit.ts";
import { Connections } from "./bounds/connections.ts";
import { FailedAttempts } from "./bounds/failures.ts";
import { readTls, type TlsContext } from "./credentials/certificates.ts";
import { Clients } from "./credentials/clients.ts";
import { Tokens } from "./credentials/tokens.ts";
import { recheckMs } from "./credentials/watched-file.ts";
import type { ApiDeps } from "./deps.ts";
import { eipsToAvoid, refuseUnguarded, refuseUnsafe } from "./listen-address.ts";
import {
  closeListener,
  type Listener,
  listenTcp,
  listenUnix,
  type OpenListener,
  type RequestHandler,
} from "./listeners.ts";
import { type Route, RouteTable } from "./route-table.ts";
import { TcpPorts } from "./tcp-ports.ts";

export interface Api {
  /**
   * Opens all listeners or none.
   * @throws `bad-config`, `already-running`
   */
  listen(): Promise<void>;
  /** Answers waiting requests, accepts no new ones, removes the socket. Can be called twice. */
  close(): Promise<void>;
  readonly app: FastifyInstance;
  /** The addresses it listens on: the socket's path first, then host:port as bound. */
  readonly addresses: readonly string[];
  /** Why the API differs from its settings. */
  readonly degradations: readonly Degradation[];
  /** All routes. Complete when the application is ready. */
  readonly routes: readonly Route[];
}

const defaultDrainMs = 5_000;
const defaultGuardRetryMs = 5_000;
const defaultCertificateRecheckMs = 60_000;

export function createApi(parts: ApiDeps): Api {
  const { settings, log } = parts;
  const stopping = new AbortController();
  const listenerOf = new WeakMap<IncomingMessage, Listener>();
  const revocations = new EventEmitter<{ readonly revoked: [] }>();
  const revoke = (): void => void revocations.emit("revoked");
  const watched = { log, nowMs: () => parts.clock.now().bootMs, onChanged: revoke };
  const tokens =
    settings.tokenFile === undefined ? undefined : new Tokens({ ...watched, path: settings.tokenFile });
  const clients = new Clients(watched, settings.tls?.allowFile);
  const watchedFiles = [tokens?.file, clients.file].filter((file) => file !== undefined);
  const routeTable = new RouteTable();
  const connections = new Connections(settings.connections);
  const app = buildApp(
    {
      ...parts,
      stopping: stopping.signal,
      onRevoked: (listener) => void revocations.on("revoked", listener),
      answers: new Answers(stopping.signal, settings.places),
      trail: new AuditTrail(parts),
    },
    {
      listenerOf: (request) => listenerOf.get(request),
      peerOf: readPeerCredentials,
      tokens,
      clients,
      socketUids: settings.socketUids,
      failures: new FailedAttempts(watched.nowMs, settings.failures),
    },
    routeTable,
    connections,
  );
  let socket: OpenListener | undefined;
  let tls: TlsContext | undefined;
  const handle: RequestHandler = (request, response, from) => {
    listenerOf.set(request, from);
    connections.begin(request, response);
    app.routing(request, response);
  };
  const watch = (server: Server) => connections.watch(server);
  const ports = new TcpPorts({
    endpoints: settings.listen,
    guard: parts.guard,
    listen: (endpoint, isAdmitted) => listenTcp(endpoint, tls, handle, watch, isAdmitted),
    retryMs: settings.guardRetryMs ?? defaultGuardRetryMs,
    log,
  });
  const allOpen = (): readonly OpenListener[] =>
    [...(socket === undefined ? [] : [socket]), ...ports.open].filter(({ server }) => server.listening);
  const timers: NodeJS.Timeout[] = [];
  let certificateFault: string | undefined;
  let closing: Promise<void> | undefined;

  const listenAll = async (): Promise<void> => {
    const interfaces = await readInterfaceAddresses();
    const eips = eipsToAvoid(parts.state.current, interfaces);
    refuseUnsafe(settings.listen, interfaces, settings.externalInterface, eips);
    refuseUnguarded(settings.listen, tokens !== undefined || settings.tls?.clientCaFile !== undefined);
    for (const file of watchedFiles) await file.load();
    await app.ready();
    socket = await listenUnix(settings.socketPath, socketMode(settings.socketUids), handle, watch);
    if (settings.tls !== undefined) inForce(await readTls(settings.tls));
    await ports.start();
    log.info({ addresses: allOpen().map(({ address }) => address) }, "api listening");
  };

  const inForce = (renewed: TlsContext): void => {
    parts.onCertificate?.(renewed.notAfterSeconds);
    // A certificate was checked when its connection was made.
    if (tls !== undefined && tls.authority !== renewed.authority) {
      connections.retireAll();
      revoke();
    }
    tls = renewed;
  };

  /** Certificates rotate. If a file is only half written, the last certificates stay in force. */
  const renewCertificates = async (files: TlsFiles): Promise<void> => {
    try {
      const renewed = await readTls(files);
      for (const { server } of ports.open)
        if (server instanceof HttpsServer) server.setSecureContext(renewed.options);
      inForce(renewed);
      certificateFault = undefined;
    } catch (err) {
      certificateFault = err instanceof Error ? err.message : String(err);
      log.warn({ err }, "cannot read the certificates, the last ones stay in force");
    }
  };

  const closeAll = async (): Promise<void> => {
    for (const timer of timers) clearInterval(timer);
    ports.stop();
    connections.stop();
    stopping.abort(new Error("the agent is stopping"));
    const drainMs = settings.drainMs ?? defaultDrainMs;
    await Promise.all(allOpen().map((listener) => closeListener(listener, drainMs)));
    await app.close();
  };

  return {
    app,
    get degradations() {
      return degradationsOf(
        tokens?.file.fault,
        clients.file?.fault,
        certificateFault,
        parts.audit?.failure,
        ports.fault,
      );
    },
    get routes() {
      return routeTable.routes;
    },
    get addresses() {
      return allOpen().map(({ address }) => address);
    },
    async listen() {
      try {
        await listenAll();
      } catch (error) {
        ports.stop();
        await Promise.all(allOpen().map((listener) => closeListener(listener, 0)));
        throw error;
      }
      const { tls: files } = settings;
      if (files !== undefined) {
        const recheckMs = settings.certificateRecheckMs ?? defaultCertificateRecheckMs;
        timers.push(setInterval(() => void renewCertificates(files), recheckMs).unref());
      }
      // Check even without requests: a broken token file that will lock everybody out is reported before it does.
      for (const file of watchedFiles) timers.push(setInterval(() => void file.recheck(), recheckMs).unref());
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}

/** Root may connect whatever the mode. Where others may, the kernel tells who connects. */
function socketMode(uids: ReadonlySet<number>): number {
  const own = process.geteuid?.();
  return [...uids].every((uid) => uid === 0 || uid === own) ? 0o600 : 0o666;
}

function degradationsOf(
  tokenFault: string | undefined,
  clientFault: string | undefined,
  certificateFault: string | undefined,
  auditFault: string | undefined,
  guardFault: string | undefined,
): readonly Degradation[] {
  const list: Degradation[] = [];
  if (tokenFault !== undefined)
    list.push({ reason: "TokenFileInvalid", message: `${tokenFault}; the last tokens stay in force` });
  if (clientFault !== undefined)
    list.push({ reason: "ClientListInvalid", message: `${clientFault}; the last list stays in force` });
  if (certificateFault !== undefined)
    list.push({
      reason: "CertificatesInvalid",
      message: `${certificateFault}; the last certificates stay in force`,
    });
  if (auditFault !== undefined)
    list.push({ reason: "AuditLogFailing", message: `the audit log cannot be written: ${auditFault}` });
  if (guardFault !== undefined)
    list.push({ reason: "ApiUnguarded", message: `the API's TCP ports are not open: ${guardFault}` });
  return list;
}
