/** The dashboard of all gateways: which of them needs attention. */
import type { Dashboard, Panel } from "./dashboard.ts";

const of = (metric: string, more = "") =>
  `${metric}{namespace=~"$namespace"${more === "" ? "" : `, ${more}`}}`;
const byPod = (expr: string) => `sum by (namespace, pod) (${expr})`;
const maxByPod = (expr: string) => `max by (namespace, pod) (${expr})`;
const rate = (metric: string, more = "") => `rate(${of(metric, more)}[$__rate_interval])`;
const name = "{{namespace}}/{{pod}}";

const overview: readonly Panel[] = [
  {
    title: "Gateways",
    description: "Gateways that report.",
    type: "stat",
    width: 6,
    queries: [{ expr: `count(${of("natgw_build_info")})`, legend: "" }],
  },
  {
    title: "Not verified",
    description: "Gateways whose agent has not verified its rules since it started.",
    type: "stat",
    width: 6,
    queries: [{ expr: `count(${of("natgw_ready")} == 0) or vector(0)`, legend: "" }],
    thresholds: [1, 2],
  },
  {
    title: "Degraded",
    description: "Gateways with at least one reason.",
    type: "stat",
    width: 6,
    queries: [{ expr: `count(${byPod(of("natgw_degraded"))} > 0) or vector(0)`, legend: "" }],
    thresholds: [1, 2],
  },
  {
    title: "Objects not ready",
    description: "Of all gateways.",
    type: "stat",
    width: 6,
    queries: [{ expr: `sum(${of("natgw_objects", 'state="not_ready"')})`, legend: "" }],
    thresholds: [1, 10],
  },
  {
    title: "Alerts",
    description: "Alerts that fire now. Each has a page in docs/runbooks.",
    type: "table",
    width: 12,
    queries: [
      {
        expr: 'sum by (alertname, severity, namespace, pod) (ALERTS{alertname=~"NatGateway.+", alertstate="firing", namespace=~"$namespace"})',
        legend: "",
      },
    ],
  },
  {
    title: "Versions",
    description: "More than one for longer than a rollout: a rollout that stopped.",
    type: "table",
    width: 12,
    queries: [{ expr: `count by (version, node) (${of("natgw_build_info")})`, legend: "" }],
  },
];

const attention: readonly Panel[] = [
  {
    title: "Worst port ratio",
    description: "Of each gateway's worst EIP and destination.",
    type: "bargauge",
    width: 8,
    unit: "percentunit",
    max: 1,
    thresholds: [0.8, 0.95],
    queries: [{ expr: `topk(10, ${maxByPod(of("natgw_eip_port_utilization_ratio"))})`, legend: name }],
  },
  {
    title: "Fullest connection tables",
    description: "Conntrack entries as a share of the maximum.",
    type: "bargauge",
    width: 8,
    unit: "percentunit",
    max: 1,
    thresholds: [0.8, 0.95],
    queries: [
      { expr: `topk(10, ${of("natgw_conntrack_entries")} / ${of("natgw_conntrack_max")})`, legend: name },
    ],
  },
  {
    title: "Longest since a verified pass",
    description: "Above 5 min an alert fires.",
    type: "bargauge",
    width: 8,
    unit: "s",
    thresholds: [60, 300],
    queries: [
      {
        expr: `topk(10, time() - ${of("natgw_last_successful_apply_timestamp_seconds")})`,
        legend: name,
      },
    ],
  },
  {
    title: "Objects not ready",
    description: "By gateway.",
    type: "timeseries",
    width: 8,
    queries: [{ expr: `topk(10, ${byPod(of("natgw_objects", 'state="not_ready"'))})`, legend: name }],
  },
  {
    title: "Drift repaired, 1 h",
    description: "By gateway. Normal is 0.",
    type: "timeseries",
    width: 8,
    queries: [
      { expr: `topk(10, ${byPod(`increase(${of("natgw_drift_repaired_total")}[1h])`)})`, legend: name },
    ],
  },
  {
    title: "Failed connections",
    description: "No free port, or the connection table is full.",
    type: "timeseries",
    width: 8,
    unit: "cps",
    queries: [
      {
        expr: `topk(10, ${byPod(`${rate("natgw_snat_allocation_failures_total")}`)} + ${byPod(rate("natgw_conntrack_drop_total"))})`,
        legend: name,
      },
    ],
  },
];

const traffic: readonly Panel[] = [
  {
    title: "Traffic to EIPs",
    description: "Bytes received from the outside, by gateway.",
    type: "timeseries",
    width: 12,
    unit: "Bps",
    queries: [{ expr: `topk(10, ${byPod(rate("natgw_eip_receive_bytes_total"))})`, legend: name }],
  },
  {
    title: "Traffic from EIPs",
    description: "Bytes sent to the outside, by gateway.",
    type: "timeseries",
    width: 12,
    unit: "Bps",
    queries: [{ expr: `topk(10, ${byPod(rate("natgw_eip_transmit_bytes_total"))})`, legend: name }],
  },
  {
    title: "Connections",
    description: "Established ones, by gateway.",
    type: "timeseries",
    width: 12,
    queries: [
      { expr: `topk(10, ${byPod(of("natgw_eip_connections", 'state="established"'))})`, legend: name },
    ],
  },
  {
    title: "Packets dropped",
    description: "By the agent's own rules, by gateway and reason.",
    type: "timeseries",
    width: 12,
    unit: "pps",
    queries: [
      {
        expr: `topk(10, sum by (namespace, pod, reason) (${rate("natgw_dropped_packets_total")}))`,
        legend: `${name} {{reason}}`,
      },
    ],
  },
];

export const fleet: Dashboard = {
  uid: "natgw-fleet",
  title: "NAT gateways",
  description: "All gateways: which of them needs attention.",
  variables: [{ name: "namespace", query: "label_values(natgw_build_info, namespace)", isMulti: true }],
  rows: [
    { title: "Overview", panels: overview },
    { title: "Needs attention", panels: attention },
    { title: "Traffic", panels: traffic },
  ],
  link: { title: "One gateway", uid: "natgw" },
};
