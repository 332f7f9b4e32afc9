/** The HTTP API: one Fastify instance, served on a Unix socket and on any number of TCP listeners. */
import type { IncomingMessage, Server } from "node:http";
import { Server as HttpsServer } from "node:https";
import { networkInterfaces } from "node:os";
import type { FastifyInstance } from "fastify";
import type { Degradation } from "../../lib/model/degradation.ts";
import { addressOf } from "../../lib/model/ip.ts";
import { Answers } from "./answers.ts";
import { buildApp } from "./app.ts";
import { Connections } from "./bounds/connections.ts";
import type { ApiDeps } from "./deps.ts";
import { refuseUnsafe } from "./listen-address.ts";
import {
  closeListener,
  type Listener,
  listenTcp,
  listenUnix,
  type OpenListener,
  readTls,
} from "./listeners.ts";
import { type Route, RouteTable } from "./route-table.ts";
import { TokenFile, tokenRecheckMs } from "./token-file.ts";

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
const defaultCertificateRecheckMs = 60_000;

export function createApi(parts: ApiDeps): Api {
  const { settings, log } = parts;
  const stopping = new AbortController();
  const listenerOf = new WeakMap<IncomingMessage, Listener>();
  const token =
    settings.tokenFile === undefined
      ? undefined
      : new TokenFile(settings.tokenFile, log, () => parts.clock.now().bootMs);
  const routeTable = new RouteTable();
  const connections = new Connections(settings.connections);
  const app = buildApp(
    { ...parts, stopping: stopping.signal, answers: new Answers(stopping.signal, settings.places) },
    { listenerOf: (request) => listenerOf.get(request), token },
    routeTable,
    connections,
  );
  let open: OpenListener[] = [];
  const timers: NodeJS.Timeout[] = [];
  let certificateFault: string | undefined;
  let closing: Promise<void> | undefined;

  const listenAll = async (): Promise<void> => {
    const eips = [...parts.state.current.desired.eips.values()].map(({ spec }) => addressOf(spec.address));
    refuseUnsafe(settings.listen, networkInterfaces(), settings.externalInterface, eips);
    await token?.load();
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
    open.push(await listenUnix(settings.socketPath, handle, watch));
    for (const endpoint of settings.listen) open.push(await listenTcp(endpoint, settings.tls, handle, watch));
    log.info({ addresses: open.map(({ address }) => address) }, "api listening");
  };

  /** Certificates rotate. If a file is only half written, the last certificates stay in force. */
  const renewCertificates = async (): Promise<void> => {
    const { tls } = settings;
    if (tls === undefined) return;
    try {
      const secureContext = await readTls(tls);
      for (const { server } of open) {
        if (server instanceof HttpsServer) server.setSecureContext(secureContext);
      }
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
      return degradationsOf(token?.fault, certificateFault);
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
      if (token !== undefined) timers.push(setInterval(() => void token.recheck(), tokenRecheckMs).unref());
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}

function degradationsOf(
  tokenFault: string | undefined,
  certificateFault: string | undefined,
): readonly Degradation[] {
  const list: Degradation[] = [];
  if (tokenFault !== undefined)
    list.push({ reason: "TokenFileInvalid", message: `${tokenFault}; the last token stays in force` });
  if (certificateFault !== undefined)
    list.push({
      reason: "CertificatesInvalid",
      message: `${certificateFault}; the last certificates stay in force`,
    });
  return list;
}
