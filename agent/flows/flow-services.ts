/** What the agent knows of flows: the ports of EIPs, and the flow log. Composes the parts of this folder and agent/flow-log. */
import type { WhoQuery } from "../../lib/flow-log/who.ts";
import { memoizeLastChunked } from "../../lib/memoize.ts";
import type { Family } from "../../lib/model/family.ts";
import type { Ip } from "../../lib/model/ip.ts";
import { censusKey, countedEips } from "../../lib/ports/census.ts";
import { type NearlyFullEip, nearlyFullEips } from "../../lib/ports/nearly-full.ts";
import { type PortReport, portReport } from "../../lib/ports/port-report.ts";
import { type TopItem, type TopSubject, top } from "../../lib/ports/top.ts";
import type { Desired } from "../../lib/state/desired.ts";
import { FlowLog, type FlowLogSettings } from "../flow-log/flow-log.ts";
import { Who, type WhoReport } from "../flow-log/who.ts";
import { createFlowScan } from "../kernel/conntrack/scan.ts";
import type { Log } from "../log.ts";
import { runYielding } from "../run-yielding.ts";
import type { Metrics } from "../status/metrics.ts";
import { PortMeter } from "./port-meter.ts";
import { PortScanner, type Scanned } from "./port-scanner.ts";

export interface FlowServicesDeps {
  readonly family: Family;
  readonly store: { readonly current: { readonly desired: Desired } };
  readonly metrics: Metrics;
  readonly config: { readonly metricsEips: number; readonly flowLog: FlowLogSettings };
  /** Unix time in ms. */
  readonly clock: { readonly wallMs: () => number };
  readonly log: Log;
}

/** When the table was scanned. */
export interface ScanTime {
  /** ISO 8601. */
  readonly scannedAt: string;
}

export interface TopReport extends ScanTime {
  readonly by: TopSubject;
  readonly items: readonly TopItem[];
  /** Each count is too low by at most this: the table had too many destinations or clients to count all. */
  readonly uncounted: number;
}

export interface FlowServices {
  start(): void;
  stop(): Promise<void>;
  /** The ports of an EIP as the last scan found them. */
  ports(eip: Ip, signal: AbortSignal): Promise<PortReport & ScanTime>;
  top(by: TopSubject, limit: number, signal: AbortSignal): Promise<TopReport>;
  /** The EIPs that have few ports left, as the last scan found them. */
  nearlyFull(signal: AbortSignal): Promise<readonly NearlyFullEip[]>;
  /** Who had a port of an EIP. */
  who(query: WhoQuery, signal: AbortSignal): Promise<WhoReport>;
}

export function createFlowServices({
  family,
  store,
  metrics,
  config,
  clock: { wallMs },
  log,
}: FlowServicesDeps): FlowServices {
  const eipsOf = memoizeLastChunked((eips: Desired["eips"]) => countedEips(eips.values(), family));
  const desired = () => store.current.desired;
  const settings = config.flowLog;
  const meter = new PortMeter(metrics, config.metricsEips);
  const scan = createFlowScan(family);
  const flowLog = FlowLog.create({
    family,
    desired,
    settings,
    onWritten: (records) => metrics.flowLogRecords.inc(records),
    onLost: (reason, records) => metrics.flowLogLost.inc({ reason }, records),
    wallMs,
    log,
  });
  const who = new Who({ family, desired, scan, settings, wallMs });
  const scanner = new PortScanner({
    family,
    scan,
    eips: () => runYielding(eipsOf(desired().eips)),
    async onScanned({ census, before }, seconds) {
      metrics.conntrackScanDuration.observe(seconds);
      flowLog?.onScanned(census);
      const isSame = census.isEmpty && before?.isEmpty === true && before.eips === census.eips;
      if (!isSame) await runYielding(meter.update(census));
    },
    wallMs,
    log,
  });
  return {
    start() {
      scanner.start();
      flowLog?.start();
    },
    async stop() {
      await scanner.stop();
      await flowLog?.stop();
    },
    async ports(eip, signal) {
      const { census, before, ...scanned } = await scanner.latest(signal);
      return { ...portReport(censusKey(family, eip), census, before, family), ...timeOf(scanned) };
    },
    async top(by, limit, signal) {
      const { census, ...scanned } = await scanner.latest(signal);
      const items = await runYielding(top(by, limit, census, family));
      const { level, clientLevel } = census.destinations;
      return { by, items, uncounted: by === "eips" ? 0 : Math.max(level, clientLevel), ...timeOf(scanned) };
    },
    async nearlyFull(signal) {
      const { census } = await scanner.latest(signal);
      return runYielding(nearlyFullEips(census, family));
    },
    who: (query, signal) => who.ask(query, signal),
  };
}

function timeOf({ wallMs }: Pick<Scanned, "wallMs">): ScanTime {
  return { scannedAt: new Date(wallMs).toISOString() };
}
