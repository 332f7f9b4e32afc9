/** The Fastify instance: hooks, error handling and all routes. Does not listen by itself. */
import rateLimit from "@fastify/rate-limit";
import swagger from "@fastify/swagger";
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  LogController,
} from "fastify";
import { GatewayError } from "../../lib/model/errors.ts";
import { type AccessRules, checkAccess } from "./access.ts";
import { Bodies } from "./bounds/bodies.ts";
import type { Connections } from "./bounds/connections.ts";
import type { RouteContext } from "./deps.ts";
import { eventSchemas } from "./events/schemas.ts";
import { acceptJsonOnly } from "./json-body.ts";
import { refuseUnmet } from "./malformed.ts";
import { swaggerOptions } from "./openapi.ts";
import { pathOf, sendProblem } from "./problem.ts";
import { querySchema } from "./query.ts";
import type { RouteTable } from "./route-table.ts";
import { auditRoutes } from "./routes/audit.ts";
import { batchRoutes } from "./routes/batch.ts";
import { connectionRoutes } from "./routes/connections.ts";
import { desiredRoutes } from "./routes/desired.ts";
import { diagnosticRoutes } from "./routes/diagnostics.ts";
import { doctorRoutes } from "./routes/doctor.ts";
import { eventRoutes } from "./routes/events.ts";
import { explainRoutes } from "./routes/explain.ts";
import { flowRoutes } from "./routes/flows.ts";
import { gatewayRoutes } from "./routes/gateway.ts";
import { importRoutes } from "./routes/import.ts";
import { inventoryRoutes } from "./routes/inventory.ts";
import { kubeOvnRoutes } from "./routes/kube-ovn.ts";
import { leaseRoutes } from "./routes/leases.ts";
import { objectRoutes } from "./routes/objects.ts";
import { pageRoutes } from "./routes/page.ts";
import { probeRoutes } from "./routes/probes.ts";
import { validatorCompiler } from "./validation.ts";

/** Far above what a controller sends. It stops a client that runs wild. */
const defaultRateLimit = { max: 20_000, windowMs: 10_000 } as const;

export function buildApp(
  context: RouteContext,
  access: AccessRules,
  routeTable: RouteTable,
  connections: Connections,
): FastifyInstance {
  const { settings, version } = context;
  const loggerInstance: FastifyBaseLogger = context.log;
  const app = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    // Names have up to 253 characters, and each can be percent-encoded.
    routerOptions: { maxParamLength: 1_024 },
    return503OnClosing: false,
    // Fastify loads compilers of its own, which take a tenth of the start, unless it is told that there are others.
    schemaController: { compilersFactory: { buildValidator: isSetBelow, buildSerializer: isSetBelow } },
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
  });
  app.setValidatorCompiler(validatorCompiler(context.answers.turns));
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  context.answers.serve(app);
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  // After the access check, so that unknown paths reveal nothing; before the body is read.
  const refuse = (request: FastifyRequest) => routeTable.refusalOf(request.method, pathOf(request));
  app.setNotFoundHandler((request) => {
    throw refuse(request);
  });
  routeTable.watch(app);
  const bodies = new Bodies(settings.bodies);
  acceptJsonOnly(app, bodies, context.answers.turns);
  reserveForProbes(app, connections);
  limitRate(app, settings.rateLimit ?? defaultRateLimit, access);
  app.addHook("onRequest", async (request) => refuseUnmet(request.raw));
  app.decorateRequest("identity");
  app.addHook("onRequest", (request, reply) => checkAccess(access, request, reply));
  app.addHook("onRequest", async (request) => {
    if (request.is404) throw refuse(request);
  });
  reportAnswers(app, context);
  context.trail.watch(app, (request) => access.listenerOf(request));
  refuseUnknownQueries(app);
  void app.register(swagger, swaggerOptions(version, eventSchemas));
  void app.register((routes, _options, done) => {
    desiredRoutes(routes, context);
    objectRoutes(routes, context);
    auditRoutes(routes, context);
    batchRoutes(routes, context);
    leaseRoutes(routes, context);
    gatewayRoutes(routes, context);
    diagnosticRoutes(routes, context);
    importRoutes(routes, context);
    inventoryRoutes(routes, context);
    connectionRoutes(routes, context);
    doctorRoutes(routes, context);
    eventRoutes(routes, context);
    explainRoutes(routes, context);
    flowRoutes(routes, context);
    kubeOvnRoutes(routes, context, bodies);
    probeRoutes(routes, context);
    pageRoutes(routes, context);
    routes.get("/openapi.json", { schema: { hide: true } }, (_request, reply) => reply.send(app.swagger()));
    done();
  });
  return app;
}

/** Runs first: when too many connections are open, the last ones are for probes. */
function reserveForProbes(app: FastifyInstance, connections: Connections): void {
  app.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.config.isProbe === true || !connections.isForProbes(request.raw)) return;
    void reply.header("connection", "close");
    throw new GatewayError("overloaded", "Too many connections are open");
  });
}

/** Runs before the access check, so that guessing tokens is limited too. Probes are always answered. */
function limitRate(
  app: FastifyInstance,
  { max, windowMs }: { readonly max: number; readonly windowMs: number },
  access: AccessRules,
): void {
  const peerOf = (request: FastifyRequest): string =>
    access.listenerOf(request.raw)?.kind === "tcp" ? request.ip : "local";
  void app.register(rateLimit, { global: false, max, timeWindow: windowMs, keyGenerator: peerOf });
  let judge: ReturnType<FastifyInstance["createRateLimit"]> | undefined;
  void app.after(() => {
    judge = app.createRateLimit();
  });
  app.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.config.isOpen === true) return;
    const verdict = await judge?.(request);
    if (verdict === undefined || verdict.isAllowed || !verdict.isExceeded) return;
    void reply.header("retry-after", String(Math.max(1, verdict.ttlInSeconds)));
    throw new GatewayError("rate-limited", `More than ${max} requests in ${windowMs} ms`);
  });
}

/** Measures every answer. A write is logged at level info, a read at level debug. */
function reportAnswers(app: FastifyInstance, { observeRequest, stopping }: RouteContext): void {
  app.addHook("onSend", async (_request, reply) => {
    if (stopping.aborted) void reply.header("connection", "close");
  });
  app.addHook("onResponse", async (request, reply) => {
    const { statusCode, elapsedTime } = reply;
    if (request.routeOptions.config.isStream !== true || statusCode >= 400)
      observeRequest(request.routeOptions.url ?? "unknown", statusCode, elapsedTime / 1000);
    if (statusCode >= 400) return;
    const facts = { method: request.method, path: pathOf(request), status: statusCode, tookMs: elapsedTime };
    if (request.method === "GET" || request.method === "HEAD") request.log.debug(facts, "read answered");
    else request.log.info(facts, "write answered");
  });
}

/** A route without query parameters refuses any. Probes ignore theirs, because many tools send them. */
function refuseUnknownQueries(app: FastifyInstance): void {
  const none = querySchema({});
  app.addHook("onRoute", (route) => {
    if (route.url.startsWith("/v1/")) route.schema = { querystring: none, ...route.schema };
  });
}

function isSetBelow(): never {
  throw new Error("validator and serializer compilers are set right after the instance is made");
}
