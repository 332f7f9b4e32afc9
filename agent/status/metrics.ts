/** The Prometheus metrics. `docs/metrics.md` explains each for operators; a test compares the two. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { changeLabels } from "../../lib/model/change.ts";

export type Metrics = ReturnType<typeof createMetrics>;

/** In seconds: from a pass without changes to a first pass with 10,000 objects. */
const passBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** In seconds. A request with `?wait` may take long. */
const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/**
 * Creates all metrics in their own registry. Label values are bounded: kinds, stages, codes, declared routes, and the
 * names of a bounded number of Eips.
 */
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

  // The default of 10 ms would double the CPU use of an idle agent.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
  // Remove them: these are gauges with a counter's name, which promtool rejects.
  for (const what of ["handles", "resources", "requests"]) {
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  }

  gauge("natgw_build_info", "The agent's version; always 1", ["version", "node"]).set(
    { version: build.version, node: process.versions.node },
    1,
  );
  const certificateNotAfter = gauge(
    "natgw_tls_certificate_not_after_timestamp_seconds",
    "Unix time at which the certificate of the API ends; absent without TLS",
  );
  certificateNotAfter.remove();
  const metrics = {
    registry,
    certificateNotAfter,
    ready: gauge("natgw_ready", "1 once the first full pass of this process has verified"),
    degraded: gauge("natgw_degraded", "1 while the gateway is degraded for this reason", ["reason"]),
    gateClosed: gauge(
      "natgw_gate_closed",
      "1 while the gate drops what would leave the VPC for the outside untranslated",
    ),
    bfdGateClosed: gauge("natgw_bfd_gate_closed", "1 while BFD on the VPC interface is dropped"),
    objects: gauge("natgw_objects", "Desired objects by kind, and by state ready or not_ready", [
      "kind",
      "state",
    ]),
    desiredGeneration: gauge("natgw_desired_generation", "Generation of the last accepted full set"),
    appliedGeneration: gauge("natgw_applied_generation", "Generation that the last verified pass applied"),
    lastSuccessfulApply: gauge(
      "natgw_last_successful_apply_timestamp_seconds",
      "Unix time of the end of the last pass that verified everything",
    ),
    reconcileDuration: new Histogram({
      name: "natgw_reconcile_duration_seconds",
      help: "Duration of a reconcile pass",
      buckets: passBuckets,
      registers,
    }),
    reconcileErrors: counter("natgw_reconcile_errors_total", "Failures of reconcile passes", [
      "stage",
      "code",
    ]),
    driftRepaired: counter("natgw_drift_repaired_total", "Changes by other programs that a pass reverted", [
      "subsystem",
    ]),
    kernelWrites: counter("natgw_kernel_writes_total", "Changes written to the kernel", ["subsystem"]),
    flowsRemoved: counter(
      "natgw_flows_removed_total",
      "Connection-tracking entries removed because their translation is no longer desired",
    ),
    droppedPackets: counter(
      "natgw_dropped_packets_total",
      "Packets that guard, gates and limits dropped, by reason and direction: egress from the VPC to the outside, ingress to an EIP or a port of the API; of BFD: egress from the gateway to the VPC, ingress to the gateway",
      ["reason", "direction"],
    ),
    eventReaders: gauge("natgw_events_subscribers", "Readers of events that are connected"),
    eventReadersCutOff: counter(
      "natgw_events_cut_off_total",
      "Readers of events that were cut off, by reason",
      ["reason"],
    ),
    auditRecords: counter("natgw_audit_records_total", "Records written to the audit log"),
    auditLost: counter("natgw_audit_lost_total", "Records that the audit log lacks, by reason", ["reason"]),
    forks: counter("natgw_forks_total", "Commands started", ["command"]),
    tombstonesEvicted: counter(
      "natgw_tombstones_evicted_total",
      "Deleted uids forgotten before 24 hours to make room for newer ones",
    ),
    eventsLost: counter(
      "natgw_events_lost_total",
      "Times that kernel events were lost and a full resync followed",
    ),
    announceFailures: counter("natgw_announce_failures_total", "ARP frames that the kernel refused to send", [
      "code",
    ]),
    gratuitousArp: counter("natgw_gratuitous_arp_total", "EIP announcements by gratuitous ARP", ["result"]),
    arpClaims: counter(
      "natgw_arp_claims_total",
      "ARP claims of EIPs by other hosts that the agent verified by a probe",
      ["result"],
    ),
    conntrackEntries: gauge("natgw_conntrack_entries", "Connection-tracking entries in this namespace"),
    qosBytes: counter("natgw_qos_bytes_total", "Bytes that passed the limit of an EIP", ["eip", "direction"]),
    qosDropped: counter("natgw_qos_dropped_packets_total", "Packets that the limit of an EIP dropped", [
      "eip",
      "direction",
    ]),
    qosOverlimits: counter("natgw_qos_overlimits_total", "How often the limit of an EIP delayed packets", [
      "eip",
      "direction",
    ]),
    eipInfo: gauge("natgw_eip_info", "The address of an Eip; always 1", ["eip", "address"]),
    eipReachable: gauge(
      "natgw_eip_reachable",
      "1: hosts that ask for the EIP by ARP get answers; 0: one asks again and again",
      ["eip"],
    ),
    eipReceiveBytes: counter("natgw_eip_receive_bytes_total", "Bytes of IP packets to an EIP from outside", [
      "eip",
    ]),
    eipReceivePackets: counter("natgw_eip_receive_packets_total", "Packets to an EIP from outside", ["eip"]),
    eipTransmitBytes: counter(
      "natgw_eip_transmit_bytes_total",
      "Bytes of IP packets from an EIP to the outside",
      ["eip"],
    ),
    eipTransmitPackets: counter("natgw_eip_transmit_packets_total", "Packets from an EIP to the outside", [
      "eip",
    ]),
    trafficAccounting: gauge("natgw_traffic_accounting", "1 while the kernel counts the traffic of EIPs"),
    interfaceReceiveBytes: counter(
      "natgw_interface_receive_bytes_total",
      "Bytes that an interface received",
      ["interface"],
    ),
    interfaceReceivePackets: counter(
      "natgw_interface_receive_packets_total",
      "Packets that an interface received",
      ["interface"],
    ),
    interfaceTransmitBytes: counter("natgw_interface_transmit_bytes_total", "Bytes that an interface sent", [
      "interface",
    ]),
    interfaceTransmitPackets: counter(
      "natgw_interface_transmit_packets_total",
      "Packets that an interface sent",
      ["interface"],
    ),
    quarantinedObjects: gauge(
      "natgw_quarantined_objects",
      "Objects that the kernel refused and that are left out until they are tried again",
    ),
    snatAllocationFailures: counter(
      "natgw_snat_allocation_failures_total",
      "Packets of new flows that were dropped because the translation found no free port",
    ),
    conntrackInsertFailed: counter(
      "natgw_conntrack_insert_failed_total",
      "Entries that conntrack could not insert, because another one had their tuple",
    ),
    conntrackDrop: counter("natgw_conntrack_drop_total", "Packets that conntrack dropped"),
    conntrackEarlyDrop: counter(
      "natgw_conntrack_early_drop_total",
      "Entries that conntrack removed early to make room for others",
    ),
    conntrackClashResolve: counter(
      "natgw_conntrack_clash_resolve_total",
      "Packets of one flow that met while its entry was made, without a loss",
    ),
    conntrackInvalid: counter(
      "natgw_conntrack_invalid_total",
      "Packets that conntrack could not assign to a flow",
    ),
    conntrackAccounting: gauge("natgw_conntrack_accounting", "1 if conntrack counts the bytes of each flow"),
    conntrackMax: gauge("natgw_conntrack_max", "Maximum number of connection-tracking entries"),
    eipConnections: gauge("natgw_eip_connections", "Flows of an EIP, in both directions", [
      "eip",
      "protocol",
      "state",
    ]),
    eipPortsUsed: gauge("natgw_eip_ports_used", "Live ports of an EIP towards its worst destination", [
      "eip",
      "protocol",
    ]),
    eipPortUtilization: gauge(
      "natgw_eip_port_utilization_ratio",
      "Share of an EIP's ports in use towards its worst destination",
      ["eip"],
    ),
    eipAdditionalNeeded: gauge(
      "natgw_eip_additional_needed",
      "EIPs needed besides this one to have 20 % of the ports free towards each destination",
      ["eip"],
    ),
    conntrackScanDuration: new Histogram({
      name: "natgw_conntrack_scan_duration_seconds",
      help: "Duration of a scan of the connection-tracking table",
      buckets: passBuckets,
      registers,
    }),
    flowLogRecords: counter("natgw_flow_log_records_total", "Records written to the flow log"),
    flowLogLost: counter("natgw_flow_log_lost_total", "Records that the flow log lost", ["reason"]),
    httpRequestDuration: new Histogram({
      name: "natgw_http_request_duration_seconds",
      help: "Duration of an API request, including waiting",
      labelNames: ["route", "code"] as const,
      buckets: requestBuckets,
      registers,
    }),
  };
  // From 0: `increase()` does not see how a series begins, so an alert would miss the first event.
  for (const subsystem of changeLabels) metrics.driftRepaired.inc({ subsystem }, 0);
  for (const result of ["sent", "withdrawn", "failed"]) metrics.gratuitousArp.inc({ result }, 0);
  for (const reason of ["overrun", "backlog", "write", "unreadable"]) metrics.flowLogLost.inc({ reason }, 0);
  return metrics;
}
