/** The alerts and the panels of the dashboards, as tests read them. */
import { globSync, readFileSync } from "node:fs";
import { parse } from "yaml";

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly keep_firing_for: string;
  readonly labels: { readonly severity: string };
  readonly annotations: {
    readonly summary: string;
    readonly description: string;
    readonly runbook_url: string;
  };
}

/** One query of a panel. */
export interface PanelQuery {
  /** The dashboard's file and the panel's title. */
  readonly where: string;
  readonly description: string;
  readonly expr: string;
}

export const alertsFile = "docs/deploy/prometheus/alerts.yaml";
const dashboards = ["docs/deploy/grafana/natgw.json", "docs/deploy/grafana/natgw-fleet.json"];

export const alerts: readonly Alert[] = parse(readFileSync(alertsFile, "utf8")).groups.flatMap(
  ({ rules }: { readonly rules: readonly Alert[] }) => rules,
);

interface PanelJson {
  readonly title: string;
  readonly description: string;
  readonly targets?: readonly { readonly expr: string }[];
}

export const panels: readonly PanelQuery[] = dashboards.flatMap((file) => {
  const { panels }: { readonly panels: readonly PanelJson[] } = JSON.parse(readFileSync(file, "utf8"));
  return panels.flatMap(({ title, description, targets = [] }) =>
    targets.map(({ expr }) => ({ where: `${file}: ${title}`, description, expr })),
  );
});

/** The arguments of each `natgwctl` in the shell blocks of the runbooks, as the pages have them. */
export const runbookCommands: readonly string[] = [
  ...new Set(
    globSync("docs/runbooks/NatGateway*.md").flatMap((file) =>
      Array.from(readFileSync(file, "utf8").matchAll(/^natgwctl (.+)$/gm), ([, command = ""]) => command),
    ),
  ),
].sort();

/** A panel's expression as Grafana sends it: with `range` as the interval of rates. */
export function rangeVariables(
  expr: string,
  range: string,
  variables: Readonly<Record<string, string>> = {},
): string {
  const withRange = expr.replaceAll("$__rate_interval", range);
  return Object.entries(variables).reduce(
    (text, [name, value]) => text.replaceAll(`$${name}`, value),
    withRange,
  );
}
