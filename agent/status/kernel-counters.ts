/** Connects what reads the kernel's counters with the metrics. */

import type { Family } from "../../lib/model/family.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import {
  type ConntrackCounter,
  conntrackStatistics,
  decodeConntrackStatistics,
  dumpConntrackStatistics,
} from "../../lib/netlink/ctnetlink-statistics.ts";
import { decodeLinkCounters, dumpLinkCounters } from "../../lib/netlink/rtnetlink-link-counters.ts";
import { newLink } from "../../lib/netlink/rtnetlink-links.ts";
import { wireMtu } from "../../lib/plan/accounting/wanted.ts";
import type { Desired } from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import type { Config } from "../config.ts";
import type { Accounting } from "../kernel/accounting/driver.ts";
import { readConntrackAccounting, readConntrackStats } from "../kernel/conntrack/stats.ts";
import type { NetlinkConnection } from "../kernel/netlink/connection.ts";
import type { Log } from "../log.ts";
import type { ArpAnswers } from "../reconciler/eips/arp-answers.ts";
import type { Reconciler } from "../reconciler/reconciler.ts";
import { runYielding } from "../run-yielding.ts";
import { ConntrackMeter } from "./conntrack-meter.ts";
import { InterfaceMeter } from "./interface-meter.ts";
import type { Metrics } from "./metrics.ts";
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
  readonly log: Log;
}

export function openKernelCounters(deps: KernelCountersDeps): TimedReading {
  return new TimedReading({
    readers: [trafficReader(deps), reachReader(deps), interfaceReader(deps), conntrackReader(deps)],
    onFailure: (error) => deps.log.debug({ err: error }, "the kernel's counters cannot be read"),
  });
}

function trafficReader(deps: KernelCountersDeps): Reader {
  const { metrics, config, store, accounting } = deps;
  const meter = new TrafficMeter(metrics, config.metricsEips);
  return async (signal) => {
    const counts = await accounting.driver.readCounts(signal);
    const { isCounting } = accounting.driver;
    metrics.trafficAccounting.set(isCounting ? 1 : 0);
    await runYielding(meter.update(countedEips(store.current.desired.eips, deps), counts, isCounting));
  };
}

function* countedEips(eips: Desired["eips"], deps: KernelCountersDeps): Generator<CountedEip> {
  const { vpcInterface, externalInterface } = deps.config;
  const network = deps.reconciler.network ?? { links: [] };
  const mtus = new Map<InterfaceName, number>();
  for (const [name, { spec }] of eips) {
    const outside = (spec.interface as InterfaceName | undefined) ?? externalInterface;
    const mtu = mtus.get(outside) ?? wireMtu(network, vpcInterface, outside);
    mtus.set(outside, mtu);
    const [address = ""] = spec.address.split("/");
    yield { name, address, mtu };
  }
}

function reachReader(deps: KernelCountersDeps): Reader {
  const { metrics, config, store, arp } = deps;
  const meter = new ReachMeter(metrics.eipReachable, config.metricsEips);
  return () =>
    runYielding(meter.update(countedEips(store.current.desired.eips, deps), arp.arpAnswers.answers));
}

/** The VPC interface, the external one and those that Eips name. */
function interfaceReader({ metrics, config, store, routeNetlink }: KernelCountersDeps): Reader {
  const meter = new InterfaceMeter(metrics);
  return async (signal) => {
    const used = new Set<string>([config.vpcInterface, config.externalInterface]);
    for (const { spec } of store.current.desired.eips.values())
      if (spec.interface !== undefined) used.add(spec.interface);
    const counts = new Map();
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
  } satisfies { readonly [K in ConntrackCounter]: unknown };
  const meter = new ConntrackMeter((counter, more) => {
    if (counter === "full") metrics.droppedPackets.inc({ reason: "conntrack_full", direction: "any" }, more);
    else counterOf[counter].inc(more);
    if (counter === "insertFailed") metrics.snatAllocationFailures.inc(more);
  });
  return async (signal) => {
    const { count, max } = await readConntrackStats(signal);
    if (count !== undefined) metrics.conntrackEntries.set(count);
    if (max !== undefined) metrics.conntrackMax.set(max);
    const isAccounting = await readConntrackAccounting(signal);
    if (isAccounting !== undefined) metrics.conntrackAccounting.set(isAccounting ? 1 : 0);
    const counts = new Map();
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
