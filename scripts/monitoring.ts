/**
 * Writes what is generated of the monitoring files in docs/deploy: both Grafana dashboards, and the alerts for the
 * Prometheus operator. `scripts/monitoring.ts` writes them; a test calls {@link generatedFiles} and compares.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parse, stringify } from "yaml";
import { dashboard } from "./monitoring/dashboard.ts";
import { fleet } from "./monitoring/fleet.ts";
import { gateway } from "./monitoring/gateway.ts";

/** The content of each generated file, by its path from the project's root. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/deploy/grafana/natgw.json", asJson(dashboard(gateway))],
    ["docs/deploy/grafana/natgw-fleet.json", asJson(dashboard(fleet))],
    ["docs/deploy/components/alerts/prometheusrule.yaml", prometheusRule()],
  ]);
}

function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function prometheusRule(): string {
  const { groups } = parse(readFileSync("docs/deploy/prometheus/alerts.yaml", "utf8"));
  const rule = {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "natgw", labels: { "app.kubernetes.io/name": "nat-gateway-agent" } },
    spec: { groups },
  };
  const note = "# Generated from docs/deploy/prometheus/alerts.yaml by scripts/monitoring.ts.\n";
  return note + stringify(rule, { lineWidth: 0 });
}

if (import.meta.main) for (const [path, text] of generatedFiles()) writeFileSync(path, text);
