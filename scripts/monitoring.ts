/**
 * Writes what is generated of the monitoring files in docs/deploy: both Grafana dashboards, the links to the runbooks in
 * the alerts, and the alerts for the Prometheus operator. A test calls {@link generatedFiles} and compares.
 *
 *   node scripts/monitoring.ts                                           links are paths within this project
 *   node scripts/monitoring.ts --runbooks https://wiki.example/natgw     links to where these pages are published
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parse, stringify } from "yaml";
import { dashboard } from "./monitoring/dashboard.ts";
import { fleet } from "./monitoring/fleet.ts";
import { gateway } from "./monitoring/gateway.ts";

const alertsFile = "docs/deploy/prometheus/alerts.yaml";
/** Where the runbooks are in this project. */
const runbooksFolder = "docs/runbooks";

/**
 * The content of each generated file, by its path from the project's root.
 *
 * @param runbooks where the runbooks are published: an URL or a path, without a slash at its end
 */
export function generatedFiles(runbooks = runbooksFolder): ReadonlyMap<string, string> {
  const alerts = withRunbooksAt(runbooks, readFileSync(alertsFile, "utf8"));
  return new Map([
    ["docs/deploy/grafana/natgw.json", asJson(dashboard(gateway))],
    ["docs/deploy/grafana/natgw-fleet.json", asJson(dashboard(fleet))],
    [alertsFile, alerts],
    ["docs/deploy/components/alerts/prometheusrule.yaml", prometheusRule(alerts)],
  ]);
}

/** Each alert links to the page of its name. */
function withRunbooksAt(base: string, alerts: string): string {
  return alerts.replace(
    /runbook_url: \S*?(\w+\.md)$/gm,
    (_all, page: string) => `runbook_url: ${base}/${page}`,
  );
}

function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function prometheusRule(alerts: string): string {
  const { groups } = parse(alerts);
  const rule = {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    metadata: { name: "natgw", labels: { "app.kubernetes.io/name": "nat-gateway-agent" } },
    spec: { groups },
  };
  const note = `# Generated from ${alertsFile} by scripts/monitoring.ts.\n`;
  return note + stringify(rule, { lineWidth: 0 });
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runbooks: { type: "string" } } });
  for (const [path, text] of generatedFiles(values.runbooks?.replace(/\/+$/, ""))) writeFileSync(path, text);
}
