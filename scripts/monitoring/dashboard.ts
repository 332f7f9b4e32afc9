/** From a short description to the JSON of a Grafana dashboard (schema 39, Grafana 11), with every field that its types require. */

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly Variable[];
  readonly rows: readonly Row[];
  /** A link on top to the dashboard with this uid. */
  readonly link: { readonly title: string; readonly uid: string };
}

/** A variable with the values of a label. */
export interface Variable {
  readonly name: string;
  readonly query: string;
  /** Several values, and "All". */
  readonly isMulti?: boolean;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Panel {
  readonly title: string;
  /** What it shows and when to act: the text behind the (i). */
  readonly description: string;
  readonly type: "timeseries" | "stat" | "bargauge" | "table";
  readonly queries: readonly Query[];
  /** A unit of Grafana: `short`, `percentunit`, `Bps`, `s`. */
  readonly unit?: string;
  /** Of 24 columns. */
  readonly width: number;
  /** From this value on orange, from the next on red. */
  readonly thresholds?: readonly [number, number];
  /** Texts in place of values. */
  readonly texts?: Readonly<Record<string, { readonly text: string; readonly color: string }>>;
  readonly isStacked?: boolean;
  readonly max?: number;
}

export interface Query {
  readonly expr: string;
  readonly legend: string;
}

const datasource = { type: "prometheus", uid: "$datasource" };
const heights = { timeseries: 8, stat: 4, bargauge: 8, table: 8 } as const;
const columns = 24;

export function dashboard({ uid, title, description, variables, rows, link }: Dashboard): object {
  return {
    uid,
    title,
    description,
    tags: ["natgw"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: "30s",
    time: { from: "now-3h", to: "now" },
    timezone: "browser",
    links: [
      {
        type: "link",
        title: link.title,
        url: `/d/${link.uid}`,
        includeVars: true,
        keepTime: true,
        icon: "dashboard",
        asDropdown: false,
        tags: [],
        targetBlank: false,
        tooltip: "",
      },
    ],
    annotations: { list: [firingAlerts(variables)] },
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
        ...variables.map(variableJson),
      ],
    },
    panels: panelsOf(rows),
  };
}

/** Marks in the graphs when an alert began to fire. */
function firingAlerts(variables: readonly Variable[]): object {
  const selectors = variables.map(({ name }) => `${name}=~"$${name}"`);
  const matchers = ['alertname=~"NatGateway.+"', 'alertstate="firing"', ...selectors].join(", ");
  return {
    name: "Alerts",
    datasource,
    enable: true,
    iconColor: "red",
    expr: `ALERTS{${matchers}}`,
    titleFormat: "{{ alertname }}",
    step: "30s",
  };
}

function variableJson({ name, query, isMulti = false }: Variable): object {
  return {
    name,
    label: name.slice(0, 1).toUpperCase() + name.slice(1),
    type: "query",
    datasource,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: isMulti,
    includeAll: isMulti,
    ...(isMulti && { allValue: ".*", current: { text: "All", value: "$__all" } }),
  };
}

function panelsOf(rows: readonly Row[]): readonly object[] {
  const panels: object[] = [];
  let y = 0;
  for (const { title, panels: row } of rows) {
    panels.push({
      id: panels.length + 1,
      type: "row",
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: columns, h: 1 },
      panels: [],
    });
    y++;
    let x = 0;
    let height = 0;
    for (const panel of row) {
      if (x + panel.width > columns) {
        y += height;
        [x, height] = [0, 0];
      }
      const h = heights[panel.type];
      panels.push({
        ...panelJson(panel),
        id: panels.length + 1,
        gridPos: { x, y, w: panel.width, h },
      });
      x += panel.width;
      height = Math.max(height, h);
    }
    y += height;
  }
  return panels;
}

function panelJson(panel: Panel): object {
  const { title, description, type, queries, unit = "short", thresholds, texts, max } = panel;
  const isInstant = type !== "timeseries";
  return {
    type,
    title,
    description,
    datasource,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode("A".charCodeAt(0) + index),
      datasource,
      expr,
      legendFormat: legend,
      ...(isInstant ? { instant: true, range: false } : { range: true }),
      ...(type === "table" && { format: "table" }),
    })),
    fieldConfig: {
      defaults: {
        unit,
        ...(max !== undefined && { min: 0, max }),
        ...(type === "timeseries" && { min: 0, custom: graph(panel) }),
        thresholds: { mode: "absolute", steps: stepsOf(thresholds) },
        ...(texts !== undefined && { mappings: [{ type: "value", options: texts }] }),
      },
      overrides: [],
    },
    options: optionsOf(type),
    ...(type === "table" && { transformations: [{ id: "merge", options: {} }] }),
  };
}

function graph({ isStacked = false, thresholds }: Panel): object {
  return {
    drawStyle: "line",
    lineWidth: 1,
    fillOpacity: isStacked ? 30 : 10,
    showPoints: "never",
    spanNulls: false,
    stacking: { mode: isStacked ? "normal" : "none", group: "A" },
    thresholdsStyle: { mode: thresholds === undefined ? "off" : "dashed" },
  };
}

function stepsOf(thresholds: Panel["thresholds"]): readonly object[] {
  const [orange, red] = thresholds ?? [];
  return [
    { color: "green", value: null },
    ...(orange === undefined ? [] : [{ color: "orange", value: orange }]),
    ...(red === undefined ? [] : [{ color: "red", value: red }]),
  ];
}

function optionsOf(type: Panel["type"]): object {
  const reduceOptions = { calcs: ["lastNotNull"], fields: "", values: false };
  switch (type) {
    case "timeseries":
      return {
        legend: { displayMode: "table", placement: "right", calcs: ["lastNotNull", "max"], showLegend: true },
        tooltip: { mode: "multi", sort: "desc" },
      };
    case "stat":
      return { reduceOptions, colorMode: "background", graphMode: "none", textMode: "auto" };
    case "bargauge":
      return { reduceOptions, orientation: "horizontal", displayMode: "basic", showUnfilled: true };
    case "table":
      return { showHeader: true, cellHeight: "sm" };
  }
}
