/** Connects what reads the kernel's counters with the metrics. */

import { type Chunked, mapChunked } from "../../lib/chunked.ts";
import type { Family } from "../../lib/model/family.ts";
import { addressOf } from "../../lib/model/ip.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import {
  type ConntrackCounts,
  conntrackStatistics,
  decodeConntrackStatistics,
  dumpConntrackStatistics,
} from "../../lib/netlink/ctnetlink-statistics.ts";
import {
  decodeLinkCounters,
  dumpLinkCounters,
  type LinkCounts,
} from "../../lib/netlink/rtnetlink-link-counters.ts";
import { newLink } from "../../lib/netlink/rtnetlink-links.ts";
import { wireMtu } from "../../lib/plan/accounting/wanted.ts";
import type { State } from "../../lib/state/state.ts";
import type { Config } from "../config.ts";
import type { Accounting } from "../kernel/accounting/driver.ts";
import { readConntrackAccounting, readConntrackStats } from "../kernel/conntrack/stats.ts";
import type { NetlinkConnection } from "../kernel/netlink/connection.ts";
import type { Log } from "../log.ts";
import type { ArpAnswers } from "../reconciler/eips/arp-answers.ts";
import type { Reconciler } from "../reconciler/reconciler.ts";
import { runYielding } from "../run-yielding.ts";
import { ConntrackMeter, type MeteredCounter } from "./conntrack-meter.ts";
import { InterfaceMeter } from "./interface-meter.ts";
import type { Metrics } from "./metrics.ts";
import type { QosMeter } from "./qos-meter.ts";
import { ReachMeter } from "./reach-meter.ts";
import { type Reader, TimedReading } from "./timed-reading.ts";
import { type CountedEip, TrafficMeter } from "./traffic-meter.ts";

export interface KernelCountersDeps {
  readonly metrics: Metrics;
  readonly family: Family;
  readonly config: Pick<Config, "vpcInterface" | "externalInterface" | "metricsEips">;
  readonly store: { readonly current: Pick<State, "desired"> };
  readonly reconciler: Pick<Reconciler, "network">;
  readonly arp: { readonly arpAnswers: Pick<ArpAnswers, "answers"> };
  readonly accounting: Accounting;
  readonly routeNetlink: NetlinkConnection;
  readonly qosMeter: Pick<QosMeter, "reread">;
  readonly log: Log;
}

export function openKernelCounters(deps: KernelCountersDeps): TimedReading {
  return new TimedReading({
    readers: [eipsReader(deps), conntrackReader(deps), (signal) => deps.qosMeter.reread(signal)],
    onFailure: (error) => deps.log.debug({ err: error }, "the kernel's counters cannot be read"),
  });
}

/** What is counted for each Eip, or for the interfaces that they are held on. */
type EipsReader = (counted: CountedEips, signal: AbortSignal) => Promise<void>;

interface CountedEips {
  /** In order of creation. */
  readonly eips: readonly CountedEip[];
  readonly outsides: ReadonlySet<InterfaceName>;
}

/** Walks the Eips once for all that count something of them. One that fails does not stop the others. */
function eipsReader(deps: KernelCountersDeps): Reader {
  const readers = [trafficReader(deps), reachReader(deps), interfaceReader(deps)];
  return async (signal) => {
    const counted = await runYielding(countedEips(deps));
    const failures: unknown[] = [];
    for (const read of readers) await read(counted, signal).catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  };
}

/** Takes a few milliseconds. */
const eipsAtOnce = 5_000;

function* countedEips({ config, store, reconciler }: KernelCountersDeps): Chunked<CountedEips> {
  const { vpcInterface, externalInterface } = config;
  const network = reconciler.network ?? { links: [] };
  const mtus = new Map<InterfaceName, number>();
  const mtuOf = (outside: InterfaceName) => {
    const mtu = mtus.get(outside) ?? wireMtu(network, vpcInterface, outside);
    mtus.set(outside, mtu);
    return mtu;
  };
  const eips = yield* mapChunked(store.current.desired.eips, eipsAtOnce, ([name, { spec }]) => {
    const outside = (spec.interface as InterfaceName | undefined) ?? externalInterface;
    return { name, address: addressOf(spec.address), mtu: mtuOf(outside) };
  });
  return { eips, outsides: new Set(mtus.keys()) };
}

function trafficReader({ metrics, config, accounting }: KernelCountersDeps): EipsReader {
  const meter = new TrafficMeter(metrics, config.metricsEips);
  return async ({ eips }, signal) => {
    const counts = await accounting.driver.readCounts(signal);
    const { isCounting } = accounting.driver;
    metrics.trafficAccounting.set(isCounting ? 1 : 0);
    await runYielding(meter.update(eips, counts, isCounting));
  };
}

function reachReader({ metrics, config, arp }: KernelCountersDeps): EipsReader {
  const meter = new ReachMeter(metrics.eipReachable, config.metricsEips);
  return ({ eips }) => runYielding(meter.update(eips, arp.arpAnswers.answers));
}

/** The VPC interface, the external one and those that Eips name. */
function interfaceReader({ metrics, config, routeNetlink }: KernelCountersDeps): EipsReader {
  const meter = new InterfaceMeter(metrics);
  return async ({ outsides }, signal) => {
    const used = new Set<string>([config.vpcInterface, config.externalInterface, ...outsides]);
    const counts = new Map<InterfaceName, LinkCounts>();
    await routeNetlink.dump(
      dumpLinkCounters(),
      (type, view, start, end) => {
        const link = type === newLink ? decodeLinkCounters(view, start, end) : undefined;
        if (link !== undefined && used.has(link.name)) counts.set(link.name, link.counts);
      },
      signal,
      () => counts.clear(),
    );
    meter.update(counts);
  };
}

function conntrackReader({ metrics, family, accounting }: KernelCountersDeps): Reader {
  const counterOf = {
    invalid: metrics.conntrackInvalid,
    insertFailed: metrics.conntrackInsertFailed,
    drop: metrics.conntrackDrop,
    earlyDrop: metrics.conntrackEarlyDrop,
    clashResolve: metrics.conntrackClashResolve,
    noPort: metrics.snatAllocationFailures,
    // Only the others are computed from them.
    found: undefined,
    chainTooLong: undefined,
  } satisfies { readonly [K in Exclude<MeteredCounter, "full">]: unknown };
  const meter = new ConntrackMeter((counter, more) => {
    if (counter === "full") metrics.droppedPackets.inc({ reason: "conntrack_full", direction: "any" }, more);
    else counterOf[counter]?.inc(more);
  });
  return async (signal) => {
    const { count, max } = await readConntrackStats(signal);
    if (count !== undefined) metrics.conntrackEntries.set(count);
    if (max !== undefined) metrics.conntrackMax.set(max);
    const isAccounting = await readConntrackAccounting(signal);
    if (isAccounting !== undefined) metrics.conntrackAccounting.set(isAccounting ? 1 : 0);
    const counts = new Map<number, ConntrackCounts>();
    await accounting.netlink.dump(
      dumpConntrackStatistics(family),
      (type, view, start, end) => {
        if (type !== conntrackStatistics) return;
        const { cpu, counts: found } = decodeConntrackStatistics(view, start, end);
        counts.set(cpu, found);
      },
      signal,
      () => counts.clear(),
    );
    meter.update(counts);
  };
}
