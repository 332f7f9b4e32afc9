/**
 * For each alert, metrics that raise and clear it. The times at which it is silent, fires, still fires and is silent
 * again follow from its `for` and `keep_firing_for`.
 */

/** Time series in Prometheus' notation, one sample a minute. */
type Series = Readonly<Record<string, string>>;

export interface AlertCase {
  readonly series: Series;
  /** The first and the last minute at which the expression holds. */
  readonly holds: readonly [number, number];
  /** Beside `namespace`, `pod` and `severity`. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly summary: string;
  /** Where it has the value or labels in it. */
  readonly description?: string;
}

const identity = 'namespace="gateways", pod="natgw-0"';
export const identityLabels = { namespace: "gateways", pod: "natgw-0" };
const pod = "gateways/natgw-0";

/** Minutes without the fault, with it, and after it. */
const [before, during, after] = [5, 30, 120];
const end = before + during - 1;

const hold = (value: number, minutes: number) => `${value}+0x${minutes - 1}`;

function gauge(metric: string, healthy: number, faulty: number, labels = ""): Series {
  return {
    [nameOf(metric, labels)]: [hold(healthy, before), hold(faulty, during), hold(healthy, after)].join(" "),
  };
}

/** Rises by `step` a minute during the fault. */
function counter(metric: string, step: number, labels = ""): Series {
  const top = step * during;
  return {
    [nameOf(metric, labels)]: [hold(0, before), `${step}+${step}x${during - 1}`, hold(top, after)].join(" "),
  };
}

function nameOf(metric: string, labels: string): string {
  return `${metric}{${identity}${labels === "" ? "" : `, ${labels}`}}`;
}

/** A series that exists only during the fault. */
function degraded(reason: string): Series {
  return { [nameOf("natgw_degraded", `reason="${reason}"`)]: `_x${before} ${hold(1, during)} stale` };
}

const gaugeHolds = [before, end] as const;
/** While the fault is within the window. */
const windowHolds = (minutes: number) => [before, end + minutes - 1] as const;

/** What the gateway does while a reason lasts. */
function reasonCase(reason: string, summary: string): AlertCase {
  return { series: degraded(reason), holds: gaugeHolds, labels: { reason }, summary };
}

const day = 86_400;

export const alertCases: Readonly<Record<string, AlertCase>> = {
  NatGatewayDown: {
    series: gauge("up", 1, 0, 'job="gateways/natgw"'),
    holds: gaugeHolds,
    labels: { job: "gateways/natgw" },
    summary: `The agent of ${pod} does not answer`,
  },
  NatGatewayAbsent: {
    series: { [nameOf("natgw_ready", "")]: `${hold(1, before)} _x${during} ${hold(1, after)}` },
    // The last sample counts for 5 minutes.
    holds: [before + 5, end],
    summary: "No gateway reports metrics",
  },
  NatGatewayNotReady: {
    series: gauge("natgw_ready", 1, 0),
    holds: gaugeHolds,
    summary: `${pod} has not verified its rules since it started`,
  },
  NatGatewayNotAdopted: reasonCase("NotAdopted", `${pod} waits for a full set`),
  NatGatewayStateUnsafe: reasonCase("StorageUnavailable", `${pod} cannot keep its state: StorageUnavailable`),
  NatGatewayDegraded: reasonCase("InterfaceDown", `${pod} is degraded: InterfaceDown`),
  NatGatewayObjectsNotReady: {
    series: gauge("natgw_objects", 0, 3, 'kind="fip", state="not_ready"'),
    holds: gaugeHolds,
    labels: { kind: "fip" },
    summary: `3 objects of kind fip of ${pod} are not Ready`,
  },
  NatGatewayGenerationBehind: {
    series: { ...gauge("natgw_applied_generation", 8, 7), ...gauge("natgw_desired_generation", 8, 8) },
    holds: gaugeHolds,
    summary: `${pod} has not applied the last full set`,
    description: "Generation 7 is applied, and a newer one was accepted more than 2 minutes ago.",
  },
  NatGatewayApplyStale: {
    series: {
      [nameOf("natgw_last_successful_apply_timestamp_seconds", "")]:
        `60+60x${before - 2} ${hold(240, during)} ${(before + during) * 60}+60x${after}`,
    },
    // More than 300 s after 240 s.
    holds: [10, end - 1],
    summary: `No pass of ${pod} has verified everything for 7m 0s`,
  },
  NatGatewayPassErrors: {
    series: counter("natgw_reconcile_errors_total", 1, 'stage="rule", code="rules-refused"'),
    holds: [before + 3, end + 6],
    labels: { stage: "rule", code: "rules-refused" },
    summary: `Passes of ${pod} fail in rule: rules-refused`,
    description: "4 failures in 10 minutes.",
  },
  NatGatewayPassSlow: {
    series: {
      ...counter("natgw_reconcile_duration_seconds_bucket", 1, 'le="5"'),
      ...counter("natgw_reconcile_duration_seconds_bucket", 2, 'le="10"'),
      ...counter("natgw_reconcile_duration_seconds_bucket", 2, 'le="+Inf"'),
    },
    holds: windowHolds(10),
    summary: `Passes of ${pod} take 9.9s`,
  },
  NatGatewayObjectsQuarantined: {
    series: gauge("natgw_quarantined_objects", 0, 2),
    holds: gaugeHolds,
    summary: `The kernel refuses 2 objects of ${pod}`,
  },
  NatGatewayDriftRepaired: {
    series: counter("natgw_drift_repaired_total", 1, 'subsystem="rule"'),
    holds: windowHolds(60),
    labels: { subsystem: "rule" },
    summary: `Another program changes rule state of ${pod}`,
    description: "The agent repaired 1 changes within an hour that it did not make.",
  },
  NatGatewayRepairsThrottled: reasonCase("Fighting", `Another program keeps undoing repairs of ${pod}`),
  NatGatewayKernelEventsLost: {
    series: counter("natgw_events_lost_total", 6),
    holds: windowHolds(10),
    summary: `${pod} loses kernel events`,
    description: "6 losses in 10 minutes. Each costs a full pass; no change is missed.",
  },
  NatGatewayGateClosed: reasonCase("GateClosed", `${pod} drops what it does not translate`),
  NatGatewayBfdGateClosed: {
    series: gauge("natgw_bfd_gate_closed", 0, 1),
    holds: gaugeHolds,
    summary: `${pod} gets no traffic by ECMP`,
  },
  NatGatewayConntrackNearlyFull: {
    series: {
      ...gauge("natgw_conntrack_entries", 1_000, 225_000),
      ...gauge("natgw_conntrack_max", 262_144, 262_144),
    },
    holds: gaugeHolds,
    summary: `The connection table of ${pod} is 85.83% full`,
  },
  NatGatewayConntrackDropping: {
    series: {
      ...counter("natgw_conntrack_drop_total", 10),
      ...gauge("natgw_conntrack_early_drop_total", 0, 0),
    },
    holds: windowHolds(5),
    summary: `${pod} drops connections because its connection table is full`,
    description: "10 packets or entries were dropped within 5 minutes.",
  },
  NatGatewayPortsNearlyExhausted: {
    series: gauge("natgw_eip_port_utilization_ratio", 0.1, 0.875, 'eip="eip-a"'),
    holds: gaugeHolds,
    labels: { eip: "eip-a" },
    summary: `EIP eip-a of ${pod} uses 87.5% of its ports`,
  },
  NatGatewayPortsExhausted: {
    series: counter("natgw_snat_allocation_failures_total", 10),
    holds: windowHolds(5),
    summary: `New connections through ${pod} fail: no free port`,
    description: "20 times within 5 minutes SNAT found no free port.",
  },
  NatGatewayInvalidPackets: {
    series: counter("natgw_dropped_packets_total", 1_200, 'reason="guard_invalid", direction="egress"'),
    holds: [before + 5, end + 4],
    labels: { reason: "guard_invalid", direction: "egress" },
    summary: `${pod} drops 20 invalid packets a second (egress)`,
  },
  NatGatewayAddressConflict: reasonCase("AddressConflict", `Another host holds an EIP of ${pod}`),
  NatGatewayEipUnreachable: {
    series: gauge("natgw_eip_reachable", 1, 0, 'eip="eip-a"'),
    holds: gaugeHolds,
    labels: { eip: "eip-a" },
    summary: `EIP eip-a of ${pod} does not answer on the wire`,
  },
  NatGatewayAnnouncementsFailing: {
    series: counter("natgw_gratuitous_arp_total", 2, 'result="failed"'),
    holds: windowHolds(10),
    labels: { result: "failed" },
    summary: `${pod} cannot announce its EIPs`,
    description:
      "The link did not accept 2 announcements within 10 minutes. Hosts may keep another MAC for the EIPs.",
  },
  NatGatewayApiErrors: {
    series: {
      ...counter("natgw_http_request_duration_seconds_count", 1, 'route="/v1/status", code="503"'),
      ...counter("natgw_http_request_duration_seconds_count", 9, 'route="/v1/status", code="200"'),
    },
    holds: windowHolds(10),
    summary: `${pod} answers 10% of its requests with an error`,
  },
  NatGatewayFlowLogLosing: {
    series: counter("natgw_flow_log_lost_total", 5, 'reason="overrun"'),
    holds: windowHolds(10),
    labels: { reason: "overrun" },
    summary: `The flow log of ${pod} has gaps: overrun`,
    description: "5 records were lost within 10 minutes. natgwctl who may not find who used a port.",
  },
  NatGatewayCertificateExpiring: {
    series: {
      [nameOf("natgw_tls_certificate_not_after_timestamp_seconds", "")]: [
        hold(30 * day, before),
        hold(3 * day, 90),
        hold(30 * day, after),
      ].join(" "),
    },
    holds: [before, before + 89],
    summary: `The API certificate of ${pod} expires in 2d 22h 55m 0s`,
  },
};
