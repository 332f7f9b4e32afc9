/** The dashboard of one gateway. Read from the top: is it healthy, then why not. */
import type { Dashboard, Panel } from "./dashboard.ts";

const pod = 'namespace="$namespace", pod="$pod"';
const of = (metric: string, more = "") => `${metric}{${pod}${more === "" ? "" : `, ${more}`}}`;
const rate = (metric: string, more = "") => `rate(${of(metric, more)}[$__rate_interval])`;
const top = (count: number, expr: string) => `topk(${count}, ${expr})`;

const good = "green";
const bad = "red";

const health: readonly Panel[] = [
  {
    title: "Ready",
    description: "Yes once a full pass since the start of the agent has read back every rule.",
    type: "stat",
    width: 3,
    queries: [{ expr: of("natgw_ready"), legend: "" }],
    texts: { 0: { text: "No", color: bad }, 1: { text: "Yes", color: good } },
  },
  {
    title: "Degraded",
    description: "The number of reasons why the gateway is degraded. `natgwctl status` has their messages.",
    type: "stat",
    width: 3,
    queries: [{ expr: `sum(${of("natgw_degraded")}) or vector(0)`, legend: "" }],
    thresholds: [1, 2],
  },
  {
    title: "Not ready",
    description: "Objects that are not Ready. `natgwctl get all --ready=false` lists them.",
    type: "stat",
    width: 3,
    queries: [{ expr: `sum(${of("natgw_objects", 'state="not_ready"')})`, legend: "" }],
    thresholds: [1, 10],
  },
  {
    title: "Gate",
    description:
      "Closed: what the gateway does not translate does not leave the VPC. Closed for good with NATGW_UNTRANSLATED=drop.",
    type: "stat",
    width: 3,
    queries: [{ expr: of("natgw_gate_closed"), legend: "" }],
    texts: { 0: { text: "Open", color: good }, 1: { text: "Closed", color: "orange" } },
  },
  {
    title: "Last verified pass",
    description: "Time since a pass verified everything. Passes run every 30 s; above 5 min an alert fires.",
    type: "stat",
    width: 3,
    unit: "s",
    queries: [{ expr: `time() - ${of("natgw_last_successful_apply_timestamp_seconds")}`, legend: "" }],
    thresholds: [60, 300],
  },
  {
    title: "Worst port ratio",
    description:
      "Ports in use of the EIP and destination that has the fewest left. At 100 % new connections to it fail.",
    type: "stat",
    width: 3,
    unit: "percentunit",
    queries: [{ expr: `max(${of("natgw_eip_port_utilization_ratio")})`, legend: "" }],
    thresholds: [0.8, 0.95],
  },
  {
    title: "Connection table",
    description: "Conntrack entries as a share of the maximum. At 100 % the kernel drops new connections.",
    type: "stat",
    width: 3,
    unit: "percentunit",
    queries: [{ expr: `${of("natgw_conntrack_entries")} / ${of("natgw_conntrack_max")}`, legend: "" }],
    thresholds: [0.8, 0.95],
  },
  {
    title: "Drift repaired, 1 h",
    description: "Changes by other programs to the agent's state that it repaired. Normal is 0.",
    type: "stat",
    width: 3,
    queries: [{ expr: `sum(increase(${of("natgw_drift_repaired_total")}[1h]))`, legend: "" }],
    thresholds: [1, 10],
  },
  {
    title: "Degraded because of",
    description: "Each reason while it lasts.",
    type: "timeseries",
    width: 12,
    queries: [{ expr: `${of("natgw_degraded")} or on() vector(0)`, legend: "{{reason}}" }],
  },
  {
    title: "Not ready, by kind",
    description: "Objects that are not Ready.",
    type: "timeseries",
    width: 12,
    isStacked: true,
    queries: [{ expr: of("natgw_objects", 'state="not_ready"'), legend: "{{kind}}" }],
  },
];

const connections: readonly Panel[] = [
  {
    title: "Worst port ratios",
    description: "Ports in use towards the busiest destination of each EIP, the worst ten.",
    type: "timeseries",
    width: 12,
    unit: "percentunit",
    thresholds: [0.8, 0.95],
    queries: [{ expr: top(10, of("natgw_eip_port_utilization_ratio")), legend: "{{eip}}" }],
  },
  {
    title: "Additional EIPs needed",
    description: "How many more EIPs an SNAT needs so that no destination uses more than 80 % of the ports.",
    type: "timeseries",
    width: 12,
    queries: [{ expr: top(10, of("natgw_eip_additional_needed")), legend: "{{eip}}" }],
  },
  {
    title: "Attempted connections",
    description: "Connections that nobody has answered yet. A rising line: a destination does not answer.",
    type: "timeseries",
    width: 8,
    queries: [
      {
        expr: `sum by (protocol) (${of("natgw_eip_connections", 'state="unreplied"')})`,
        legend: "{{protocol}}",
      },
    ],
  },
  {
    title: "Failed connections",
    description:
      "Connections that the gateway could not create: no free port, a clash in the table, or the table is full.",
    type: "timeseries",
    width: 8,
    unit: "cps",
    queries: [
      { expr: rate("natgw_snat_allocation_failures_total"), legend: "no free port" },
      { expr: rate("natgw_conntrack_insert_failed_total"), legend: "insert failed" },
      { expr: rate("natgw_conntrack_drop_total"), legend: "table full" },
    ],
  },
  {
    title: "Connections by state",
    description: "Of all EIPs. The kernel reuses the ports of closing ones.",
    type: "timeseries",
    width: 8,
    isStacked: true,
    queries: [{ expr: `sum by (state) (${of("natgw_eip_connections")})`, legend: "{{state}}" }],
  },
  {
    title: "Connection table",
    description: "Conntrack entries of the namespace, and their maximum.",
    type: "timeseries",
    width: 8,
    queries: [
      { expr: of("natgw_conntrack_entries"), legend: "entries" },
      { expr: of("natgw_conntrack_max"), legend: "maximum" },
    ],
  },
  {
    title: "Connection table, events",
    description:
      "Early drops and drops: the table is full. Clashes and invalid packets are normal in small numbers.",
    type: "timeseries",
    width: 8,
    unit: "ops",
    queries: [
      { expr: rate("natgw_conntrack_early_drop_total"), legend: "early drop" },
      { expr: rate("natgw_conntrack_clash_resolve_total"), legend: "clash resolved" },
      { expr: rate("natgw_conntrack_invalid_total"), legend: "invalid" },
    ],
  },
  {
    title: "Drops by reason",
    description: "Packets that the agent's own rules dropped.",
    type: "timeseries",
    width: 8,
    unit: "pps",
    queries: [{ expr: rate("natgw_dropped_packets_total"), legend: "{{reason}} {{direction}}" }],
  },
];

const traffic: readonly Panel[] = [
  {
    title: "Top EIPs, received",
    description: "Towards the EIP, from outside.",
    type: "timeseries",
    width: 8,
    unit: "Bps",
    queries: [{ expr: top(10, rate("natgw_eip_receive_bytes_total")), legend: "{{eip}}" }],
  },
  {
    title: "Top EIPs, sent",
    description: "From the EIP to the outside.",
    type: "timeseries",
    width: 8,
    unit: "Bps",
    queries: [{ expr: top(10, rate("natgw_eip_transmit_bytes_total")), legend: "{{eip}}" }],
  },
  {
    title: "Interfaces",
    description: "All traffic of the VPC interface and the outside interfaces.",
    type: "timeseries",
    width: 8,
    unit: "Bps",
    queries: [
      { expr: rate("natgw_interface_receive_bytes_total"), legend: "{{interface}} received" },
      { expr: rate("natgw_interface_transmit_bytes_total"), legend: "{{interface}} sent" },
    ],
  },
  {
    title: "Limited EIPs",
    description: "What passed the Limits.",
    type: "timeseries",
    width: 8,
    unit: "Bps",
    queries: [{ expr: top(10, rate("natgw_qos_bytes_total")), legend: "{{eip}} {{direction}}" }],
  },
  {
    title: "Drops by Limits",
    description: "Above 1 % of the packets for an hour: the EIP needs a higher limit.",
    type: "timeseries",
    width: 8,
    unit: "pps",
    queries: [{ expr: top(10, rate("natgw_qos_dropped_packets_total")), legend: "{{eip}} {{direction}}" }],
  },
  {
    title: "Announcements",
    description: "EIPs announced by gratuitous ARP. Failed ones: hosts may keep another MAC.",
    type: "timeseries",
    width: 8,
    unit: "ops",
    queries: [{ expr: rate("natgw_gratuitous_arp_total"), legend: "{{result}}" }],
  },
];

const quantile = (q: number, metric: string, labels = "") =>
  `histogram_quantile(${q}, sum by (le${labels}) (${rate(`${metric}_bucket`)}))`;

const reconciler: readonly Panel[] = [
  {
    title: "Duration of passes",
    description: "A pass without changes takes milliseconds.",
    type: "timeseries",
    width: 8,
    unit: "s",
    queries: [
      { expr: quantile(0.5, "natgw_reconcile_duration_seconds"), legend: "median" },
      { expr: quantile(0.99, "natgw_reconcile_duration_seconds"), legend: "0.99" },
    ],
  },
  {
    title: "Kernel writes",
    description: "A gateway that is as desired gets none.",
    type: "timeseries",
    width: 8,
    unit: "ops",
    isStacked: true,
    queries: [{ expr: rate("natgw_kernel_writes_total"), legend: "{{subsystem}}" }],
  },
  {
    title: "Drift repaired",
    description: "By subsystem. Find out who else writes.",
    type: "timeseries",
    width: 8,
    queries: [
      { expr: `increase(${of("natgw_drift_repaired_total")}[$__rate_interval])`, legend: "{{subsystem}}" },
    ],
  },
  {
    title: "Errors in passes",
    description: "By the stage that failed, and its error code.",
    type: "timeseries",
    width: 8,
    queries: [
      {
        expr: `sum by (stage, code) (increase(${of("natgw_reconcile_errors_total")}[$__rate_interval])) or on() vector(0)`,
        legend: "{{stage}} {{code}}",
      },
    ],
  },
  {
    title: "Generations",
    description: "Two lines that part: the last full set is not applied.",
    type: "timeseries",
    width: 8,
    queries: [
      { expr: of("natgw_desired_generation"), legend: "desired" },
      { expr: of("natgw_applied_generation"), legend: "applied" },
    ],
  },
  {
    title: "Flows ended",
    description: "Connections that were ended because no object permits them any more.",
    type: "timeseries",
    width: 8,
    unit: "ops",
    queries: [{ expr: rate("natgw_flows_removed_total"), legend: "ended" }],
  },
];

const agent: readonly Panel[] = [
  {
    title: "API requests",
    description: "By status code.",
    type: "timeseries",
    width: 8,
    unit: "reqps",
    isStacked: true,
    queries: [
      { expr: `sum by (code) (${rate("natgw_http_request_duration_seconds_count")})`, legend: "{{code}}" },
    ],
  },
  {
    title: "API latency, 0.99",
    description: "By route, with the time that `?wait` waited.",
    type: "timeseries",
    width: 8,
    unit: "s",
    queries: [
      {
        expr: top(10, quantile(0.99, "natgw_http_request_duration_seconds", ", route")),
        legend: "{{route}}",
      },
    ],
  },
  {
    title: "Event readers",
    description: "Clients of GET /v1/events; at most 64.",
    type: "timeseries",
    width: 8,
    queries: [{ expr: of("natgw_events_subscribers"), legend: "readers" }],
  },
  {
    title: "Memory",
    description: "Of the agent's process. Its limit is 512 MiB in the manifests.",
    type: "timeseries",
    width: 8,
    unit: "bytes",
    queries: [{ expr: of("process_resident_memory_bytes"), legend: "resident" }],
  },
  {
    title: "CPU",
    description: "Cores that the agent uses. An idle gateway uses less than 0.5 % of one.",
    type: "timeseries",
    width: 8,
    unit: "percentunit",
    queries: [{ expr: rate("process_cpu_seconds_total"), legend: "agent" }],
  },
  {
    title: "Commands started",
    description: "Each takes 3 to 5 ms. An idle gateway starts almost none.",
    type: "timeseries",
    width: 8,
    unit: "ops",
    queries: [
      { expr: `sum by (command) (${rate("natgw_forks_total")}) or on() vector(0)`, legend: "{{command}}" },
    ],
  },
];

export const gateway: Dashboard = {
  uid: "natgw",
  title: "NAT gateway",
  description: "One gateway: its health, connections, traffic and agent.",
  variables: [
    { name: "namespace", query: "label_values(natgw_build_info, namespace)" },
    { name: "pod", query: 'label_values(natgw_build_info{namespace="$namespace"}, pod)' },
  ],
  rows: [
    { title: "Health", panels: health },
    { title: "Connections", panels: connections },
    { title: "Traffic", panels: traffic },
    { title: "Reconciler", panels: reconciler },
    { title: "API and agent", panels: agent },
  ],
  link: { title: "All gateways", uid: "natgw-fleet" },
};
