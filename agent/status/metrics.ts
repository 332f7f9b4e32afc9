/** What the agent tells Prometheus. `docs/metrics.md` explains each for operators; a test holds the two together. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export type Metrics = ReturnType<typeof createMetrics>;

/** Seconds; from a pass in which nothing changed to a first one with 10,000 objects. */
const passBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Seconds; `?wait` may hold a request for a while. */
const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Makes all metrics in a registry of their own. Labels are bounded: kinds, stages, codes, routes as declared; never a name. */
export function createMetrics(build: { readonly version: string }) {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const counter = <const L extends string = never>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
  ) => new Counter({ name, help, labelNames, registers });

  // Every 10 ms, which is the default, half of what an idle agent costs would be this.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
  // Gauges under a counter's name, which promtool refuses.
  for (const what of ["handles", "resources", "requests"]) {
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  }

  gauge("natgw_build_info", "The agent's version; always 1", ["version", "node"]).set(
    { version: build.version, node: process.versions.node },
    1,
  );
  return {
    registry,
    ready: gauge("natgw_ready", "1 once the first full pass of this life has verified"),
    degraded: gauge("natgw_degraded", "1 while the gateway is less than whole for this reason", ["reason"]),
    gateClosed: gauge("natgw_gate_closed", "1 while traffic from the VPC to the outside is held back"),
    objects: gauge("natgw_objects", "Desired objects by kind, and by state ready or not_ready", [
      "kind",
      "state",
    ]),
    desiredGeneration: gauge("natgw_desired_generation", "Generation of the last accepted full set"),
    appliedGeneration: gauge("natgw_applied_generation", "Generation that the last verified pass applied"),
    lastSuccessfulApply: gauge(
      "natgw_last_successful_apply_timestamp_seconds",
      "Unix time at which a pass last ended with everything verified",
    ),
    reconcileDuration: new Histogram({
      name: "natgw_reconcile_duration_seconds",
      help: "Time a reconcile pass took",
      buckets: passBuckets,
      registers,
    }),
    reconcileErrors: counter("natgw_reconcile_errors_total", "Failures of reconcile passes", [
      "stage",
      "code",
    ]),
    driftRepaired: counter("natgw_drift_repaired_total", "Changes that others made and a pass took back", [
      "kind",
    ]),
    kernelWrites: counter("natgw_kernel_writes_total", "Changes written to the kernel", ["subsystem"]),
    flowsRemoved: counter(
      "natgw_flows_removed_total",
      "Connection-tracking entries removed, their translation being gone",
    ),
    forks: counter("natgw_forks_total", "Commands started", ["command"]),
    tombstonesEvicted: counter(
      "natgw_tombstones_evicted_total",
      "Deleted uids forgotten before their 24 hours, to make room for others",
    ),
    eventsLost: counter(
      "natgw_events_lost_total",
      "Times that kernel events were lost and a full resync followed",
    ),
    announceFailures: counter("natgw_announce_failures_total", "ARP frames that the kernel did not take", [
      "code",
    ]),
    gratuitousArp: counter("natgw_gratuitous_arp_total", "Announcements of EIPs by gratuitous ARP", [
      "result",
    ]),
    arpClaims: counter("natgw_arp_claims_total", "Claims of EIPs by other stations that were asked about", [
      "result",
    ]),
    conntrackEntries: gauge("natgw_conntrack_entries", "Connection-tracking entries in this namespace"),
    conntrackMax: gauge("natgw_conntrack_max", "Connection-tracking entries that the kernel allows"),
    httpRequestDuration: new Histogram({
      name: "natgw_http_request_duration_seconds",
      help: "Time an API request took, waiting included",
      labelNames: ["route", "code"] as const,
      buckets: requestBuckets,
      registers,
    }),
  };
}
