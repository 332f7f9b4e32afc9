/** The HTTP API: one Fastify instance, served on a Unix socket and on any number of TCP listeners. */
import type { IncomingMessage, Server } from "node:http";
import { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import { networkInterfaces } from "node:os";
import type { FastifyInstance } from "fastify";
import type { ApiGuard } from "../../lib/model/api-guard.ts";
import type { Degradation } from "../../lib/model/degradation.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { addressOf } from "../../lib/model/ip.ts";
import type { Endpoint } from "../config/values.ts";
import { isArrivedBy } from "../kernel/arrival.ts";
import { readPeerCredentials } from "../kernel/peer-credentials.ts";
import { Answers } from "./answers.ts";
import { buildApp } from "./app.ts";
import { AuditTrail } from "./audit.ts";
import { Connections } from "./bounds/connections.ts";
import { FailedAttempts } from "./bounds/failures.ts";
import { Clients } from "./credentials/clients.ts";
import { Tokens } from "./credentials/tokens.ts";
import { recheckMs } from "./credentials/watched-file.ts";
import type { ApiDeps } from "./deps.ts";
import { hasArrival, refuseUnguarded, refuseUnsafe } from "./listen-address.ts";
import {
  closeListener,
  type Listener,
  listenTcp,
  listenUnix,
  type OpenListener,
  readTls,
  type TlsContext,
} from "./listeners.ts";
import { type Route, RouteTable } from "./route-table.ts";

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
  const watched = { log, nowMs: () => parts.clock.now().bootMs };
  const tokens =
    settings.tokenFile === undefined ? undefined : new Tokens({ ...watched, path: settings.tokenFile });
  const clients = new Clients(watched, settings.tls?.allowFile);
  const files = [tokens?.file, clients.file].filter((file) => file !== undefined);
  const routeTable = new RouteTable();
  const connections = new Connections(settings.connections);
  const app = buildApp(
    {
      ...parts,
      stopping: stopping.signal,
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
  let open: OpenListener[] = [];
  const timers: NodeJS.Timeout[] = [];
  let certificateFault: string | undefined;
  let guardFault: string | undefined;
  let openPorts = async (): Promise<void> => {};
  let closing: Promise<void> | undefined;

  const listenAll = async (): Promise<void> => {
    const eips = [...parts.state.current.desired.eips.values()].map(({ spec }) => addressOf(spec.address));
    refuseUnsafe(settings.listen, networkInterfaces(), settings.externalInterface, eips);
    refuseUnguarded(settings.listen, tokens !== undefined || settings.tls?.clientCaFile !== undefined);
    for (const file of files) await file.load();
    await app.ready();
    const handle = (
      request: IncomingMessage,
      response: Parameters<typeof app.routing>[1],
      from: Listener,
    ) => {
      listenerOf.set(request, from);
      connections.begin(request, response);
      app.routing(request, response);
    };
    const watch = (server: Server) => connections.watch(server);
    open.push(await listenUnix(settings.socketPath, socketMode(settings.socketUids), handle, watch));
    const tls = settings.tls && (await readTls(settings.tls));
    if (tls !== undefined) inForce(tls);
    openPorts = async () => {
      if (settings.listen.length === 0) return;
      const { guard } = parts;
      await guard?.ensure();
      for (const endpoint of settings.listen) {
        const isAdmitted = guard && hasArrival(endpoint.host) ? arrivalCheck(endpoint, guard) : undefined;
        open.push(await listenTcp(endpoint, tls, handle, watch, isAdmitted));
      }
    };
    await openUnlessUnguarded();
    log.info({ addresses: open.map(({ address }) => address) }, "api listening");
  };

  /** No port opens before the kernel keeps others away from it. */
  const openUnlessUnguarded = async (): Promise<void> => {
    try {
      await openPorts();
      guardFault = undefined;
    } catch (err) {
      // A port that cannot be used stops the start.
      if (!(err instanceof GatewayError) || err.code === "bad-config") throw err;
      if (guardFault !== err.message)
        log.warn({ err }, "the kernel does not keep others from the API's ports, they stay closed");
      guardFault = err.message;
      const retryMs = settings.guardRetryMs ?? defaultGuardRetryMs;
      timers.push(setTimeout(() => void openUnlessUnguarded().catch(fail), retryMs).unref());
    }
  };
  const fail = (err: unknown): void => log.error({ err }, "cannot open the API's ports");

  let authority: string | undefined;
  const inForce = (tls: TlsContext): void => {
    parts.onCertificate?.(tls.notAfterSeconds);
    // A certificate was checked when its connection was made.
    if (authority !== undefined && authority !== tls.authority) connections.retireAll();
    authority = tls.authority;
  };

  /** Certificates rotate. If a file is only half written, the last certificates stay in force. */
  const renewCertificates = async (): Promise<void> => {
    const { tls } = settings;
    if (tls === undefined) return;
    try {
      const renewed = await readTls(tls);
      for (const { server } of open) {
        if (server instanceof HttpsServer) server.setSecureContext(renewed.options);
      }
      inForce(renewed);
      certificateFault = undefined;
    } catch (err) {
      certificateFault = err instanceof Error ? err.message : String(err);
      log.warn({ err }, "cannot read the certificates, the last ones stay in force");
    }
  };

  const closeAll = async (): Promise<void> => {
    for (const timer of timers) clearInterval(timer);
    connections.stop();
    stopping.abort(new Error("the agent is stopping"));
    const drainMs = settings.drainMs ?? defaultDrainMs;
    await Promise.all(open.map((listener) => closeListener(listener, drainMs)));
    open = [];
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
        guardFault,
      );
    },
    get routes() {
      return routeTable.routes;
    },
    get addresses() {
      return open.map(({ address }) => address);
    },
    async listen() {
      try {
        await listenAll();
      } catch (error) {
        await Promise.all(open.map((listener) => closeListener(listener, 0)));
        open = [];
        throw error;
      }
      if (settings.tls !== undefined) {
        const recheckMs = settings.certificateRecheckMs ?? defaultCertificateRecheckMs;
        timers.push(setInterval(() => void renewCertificates(), recheckMs).unref());
      }
      // Check even without requests: a broken token file that will lock everybody out is reported before it does.
      for (const file of files) timers.push(setInterval(() => void file.recheck(), recheckMs).unref());
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}

/** What the kernel lets through while its guard is gone: another program may have removed it a moment ago. */
function arrivalCheck({ host, port }: Endpoint, { open }: ApiGuard): (socket: Socket) => boolean {
  const endpoint = open.find((one) => one.address === host && one.port === port);
  return (socket) => isArrivedBy(socket, endpoint?.interface);
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
