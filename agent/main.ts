#!/usr/bin/env node
/** The composition root: reads the configuration, starts all components, stops them on a signal. */
import { countEvicted } from "../lib/admission/uids.ts";
import { GatewayError } from "../lib/model/errors.ts";
import { ipv4 } from "../lib/model/ipv4.ts";
import { type Api, createApi } from "./api/api.ts";
import { openGuard } from "./api/open-guard.ts";
import { pageFiles } from "./api/page.ts";
import { openAuditLog } from "./audit/open-audit-log.ts";
import { openClock } from "./clock.ts";
import { interfacesOf } from "./config/interfaces.ts";
import { type Config, readInvocation } from "./config.ts";
import { createEvents } from "./events/create-events.ts";
import { createFlowServices } from "./flows/flow-services.ts";
import { InstanceLock } from "./instance-lock.ts";
import { createAnnouncer } from "./kernel/announcer/announcer.ts";
import { createDiagnostics } from "./kernel/diagnostics.ts";
import { readEpoch } from "./kernel/epoch.ts";
import { createNeighbours } from "./kernel/network/neighbours.ts";
import { openDrivers } from "./kernel/open-drivers.ts";
import { createRun } from "./kernel/run.ts";
import { createKernelWakes } from "./kernel-wakes.ts";
import { createLog } from "./log.ts";
import { keepMemoryLow } from "./memory.ts";
import { RecentLog } from "./recent-log.ts";
import { type Arp, createArp } from "./reconciler/eips/create-arp.ts";
import { NextHopWatch } from "./reconciler/next-hop-watch.ts";
import { Reconciler } from "./reconciler/reconciler.ts";
import { Restartable, type StopFunctions } from "./restartable.ts";
import { runYielding } from "./run-yielding.ts";
import { openNoDebugger, stopOnSignals } from "./signals.ts";
import { StatusBoard } from "./status/board.ts";
import { degradations } from "./status/degradations.ts";
import { createDoctor } from "./status/doctor.ts";
import { DropMeter } from "./status/drop-meter.ts";
import { expositionOf } from "./status/exposition.ts";
import { openKernelCounters } from "./status/kernel-counters.ts";
import { createMetrics } from "./status/metrics.ts";
import { PassObserver } from "./status/pass-observer.ts";
import { countersOf, QosMeter } from "./status/qos-meter.ts";
import { meterReaders } from "./status/reader-meter.ts";
import { healthOf, summarize } from "./status/summary.ts";
import { openStore } from "./store/open-store.ts";
import { version } from "./version.ts";

/** The address family that the gateway translates. A second one needs a second set of planner, drivers and reconciler. */
const family = ipv4;

void main();

async function main(): Promise<void> {
  try {
    const invocation = readInvocation(process.argv.slice(2), process.env, version);
    if (invocation.kind === "print") process.stdout.write(invocation.text);
    else await run(invocation.config);
  } catch (error) {
    process.stderr.write(`natgw-agent: ${error instanceof GatewayError ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

async function run(config: Config): Promise<void> {
  openNoDebugger();
  const recent = new RecentLog();
  const log = createLog(config.logLevel, { version }, recent);
  const lock = new InstanceLock();
  await lock.start();
  const agent = new Restartable((stop, restart) => start(config, { log, recent }, stop, restart), log);
  try {
    await agent.start();
  } catch (error) {
    await lock.stop();
    throw error;
  }
  stopOnSignals(log, async () => {
    await agent.stop();
    await lock.stop();
  });
}

/**
 * Starts every component and pushes its stop function. They stop in reverse order.
 *
 * @param restart called when the desired set names other interfaces: every component gets them at its start
 */
async function start(
  settings: Config,
  { log, recent }: { readonly log: ReturnType<typeof createLog>; readonly recent: RecentLog },
  stop: StopFunctions,
  restart: () => void,
): Promise<void> {
  const [clock, epoch] = [await openClock(), await readEpoch()];
  const metrics = createMetrics({ version });
  const store = await openStore({ directory: settings.stateDir, now: clock.wallMs, log });
  stop.push(() => store.close());
  const config: Config = { ...settings, ...interfacesOf(settings, store.current.desired.gateway) };
  metrics.desiredGeneration.set(store.current.desired.generation);
  // Without writes nothing else notices that the state directory was removed.
  const storeChecks = setInterval(() => void store.check(), config.resyncIntervalMs).unref();
  stop.push(async () => clearInterval(storeChecks));
  const audit = openAuditLog({ config, clock, metrics, log });
  stop.push(async () => audit?.stop());
  const commands = createRun({ onStart: (command) => metrics.forks.inc({ command }) });
  const kernel = openDrivers(commands, family, config);
  stop.push(async () => kernel.close());
  const { drivers, accounting, ruleNetlink, routeNetlink } = kernel;
  const { dataplane, conntrack, qos } = drivers;
  const apiGuard = await openGuard({ config, netlink: ruleNetlink, run: commands, family, log });
  const board = new StatusBoard(epoch, () => store.current, new Date(clock.wallMs()).toISOString());
  const events = createEvents({
    epoch,
    clock,
    store,
    board,
    degradations: () => degradations({ api: api.degradations, store, reconciler }),
  });
  stop.push(async () => events.stop());
  const observer = new PassObserver(metrics, log);
  const drops = new DropMeter({
    read: apiGuard.withDropsOf(dataplane.driver, qos),
    onDropped: (labels, packets) => metrics.droppedPackets.inc(labels, packets),
  });
  const qosMeter = new QosMeter({ ...countersOf(metrics), driver: qos, maxEips: config.metricsEips });
  const announcer = createAnnouncer({
    probeMs: config.arpProbeMs,
    links: () => reconciler.network?.links ?? [],
    isWanted: (place, purpose) =>
      purpose === "keep" ? reconciler.holds(place) : arp.arpProbe.isWanted(place),
    stillOwned: (held) => reconciler.holds(held) && !arp.arpConflicts.conflicts.has(held.address),
    onFailure: (code) => metrics.announceFailures.inc({ code }),
    onAnnounced: (result, count) => metrics.gratuitousArp.inc({ result }, count),
    log,
  });
  stop.push(() => announcer.stop());
  const arp: Arp = createArp({
    announcer,
    isProbing: config.arpProbeMs > 0,
    held: () => reconciler.heldEips,
    nowMs: clock.bootMs,
    random: Math.random,
    wake: (reason) => reconciler.wake(reason),
    onClaim: (result) => metrics.arpClaims.inc({ result }),
    log,
  });
  stop.push(() => arp.stop());
  const nextHops = new NextHopWatch({
    neighbours: createNeighbours(routeNetlink, family, () => reconciler.network?.links ?? []),
    wake: (reason) => reconciler.wake(reason),
  });
  stop.push(async () => nextHops.stop());
  const reconciler: Reconciler = new Reconciler({
    store,
    ...drivers,
    nextHops,
    isAccounting: config.accounting === "on",
    apiGuard: apiGuard.driver,
    announcer,
    arpProbe: arp.arpProbe,
    arpConflicts: arp.arpConflicts,
    clock,
    epoch,
    config: {
      family,
      vpcInterface: config.vpcInterface,
      externalInterface: config.externalInterface,
      fallbackGateway: config.gatewayV4,
      eipBinding: config.eipBinding,
      untranslated: config.untranslated,
      isBfdGated: config.bfdGate === "on",
      apiGuard: apiGuard.guard,
    },
    board,
    resyncIntervalMs: config.resyncIntervalMs,
    onPass: (result, report) => {
      observer.onPass(result, report);
      events.onPass(result, report);
      if (reconciler.isUnadopted) apiGuard.keep();
      qosMeter.update(result.planAfter.program, result.snapshot, qos.counts);
    },
    onFailure: (error, retryInMs) => {
      observer.onFailure(error, retryInMs);
      events.onFailure(error);
      apiGuard.keep();
    },
    isAdopting: config.adopt === "auto",
    checkGateway: apiGuard.checkGateway,
    onAdopted: ({ set, unread }) => {
      const { length } = Object.values(set).flatMap((part) => (Array.isArray(part) ? part : []));
      log.info({ objects: length, unread }, "took over the live state as the desired set");
    },
    onFullPass: (reason) => log.debug({ reason }, "full pass"),
  });
  stop.push(() => reconciler.stop());
  const flows = createFlowServices({ family, store, metrics, config, clock, log });
  stop.push(() => flows.stop());
  const counted = { metrics, family, config, store, reconciler, arp, accounting, flows, routeNetlink, log };
  const counters = openKernelCounters({ ...counted, qosMeter });
  stop.push(() => counters.stop());
  const kernelEvents = createKernelWakes({ config, family, reconciler, metrics, log });
  stop.push(() => kernelEvents.stop());
  const listening = kernelEvents.start();
  store.onChange(({ desired }, changes) => {
    const { vpcInterface, externalInterface } = interfacesOf(settings, desired.gateway);
    if (vpcInterface !== config.vpcInterface || externalInterface !== config.externalInterface) restart();
    reconciler.note(changes);
    metrics.tombstonesEvicted.inc(countEvicted(changes));
  });

  const summaryDeps = () => ({
    api: api.degradations,
    version,
    epoch,
    backend: dataplane.driver.backend,
    interfaces: { vpc: config.vpcInterface, external: config.externalInterface },
    config,
    store,
    board,
    reconciler,
  });
  const api: Api = createApi({
    state: store,
    board: {
      view: () => board.view(),
      wait: (goals, timeoutMs, signal) => board.wait(goals, timeoutMs, signal),
      get isReady() {
        return reconciler.isReady;
      },
      summary: () => summarize(summaryDeps()),
    },
    reconciler,
    events: events.hub,
    audit,
    eventReaders: meterReaders(metrics, log),
    diagnostics: createDiagnostics(() => recent.text),
    flows,
    doctor: createDoctor({ ...counted, board, clock, conntrack, dataplane, commands, api: () => api }),
    clock: { now: clock.instant },
    metrics: {
      contentType: metrics.registry.contentType,
      async metrics() {
        await counters.want();
        await drops.update();
        observer.onScrape(await runYielding(healthOf(summaryDeps())), reconciler.isReady);
        return expositionOf(metrics.registry);
      },
    },
    observeRequest: (route, code, seconds) =>
      metrics.httpRequestDuration.observe({ route, code: String(code) }, seconds),
    onCertificate: (seconds) => metrics.certificateNotAfter.set(seconds),
    log,
    version,
    page: pageFiles,
    guard: { ...apiGuard.guard, ensure: () => apiGuard.driver.ensure() },
    settings: { ...config, listen: apiGuard.listen, fallbackGateway: config.gatewayV4 },
  });
  await api.listen();
  stop.push(async () => {
    board.stop();
    await api.close();
  });
  // Before the first pass: a change after its read must wake the next pass.
  await listening;
  events.start();
  reconciler.start();
  arp.start();
  nextHops.start();
  counters.start();
  flows.start();
  stop.push(keepMemoryLow(log));
  log.info({ epoch, dataplane: config.dataplane, recovered: store.recovery.recovered }, "agent started");
}
