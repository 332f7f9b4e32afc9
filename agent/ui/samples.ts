/** The few numbers that the page draws, read from the metrics in Prometheus' text format. */

export interface Samples {
  readonly atMs: number;
  readonly entries: number | undefined;
  readonly max: number | undefined;
  /** Of the worst destination of each EIP, by the name of the EIP. */
  readonly portRatios: ReadonlyMap<string, number>;
  /** Connections by state. */
  readonly connections: ReadonlyMap<string, number>;
  /** Bytes in both directions, by EIP. */
  readonly bytes: ReadonlyMap<string, number>;
  readonly drops: ReadonlyMap<string, number>;
}

const wanted =
  /^(natgw_(?:conntrack_(?:entries|max)|eip_(?:port_utilization_ratio|connections|(?:receive|transmit)_bytes_total)|dropped_packets_total))(?:\{(.*)\})? ([-+.\w]+)$/gm;
const labelPattern = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function readSamples(text: string, atMs: number): Samples {
  const plain = new Map<string, number>();
  const portRatios = new Map<string, number>();
  const connections = new Map<string, number>();
  const bytes = new Map<string, number>();
  const drops = new Map<string, number>();
  for (const [, metric = "", labelText = "", number] of text.matchAll(wanted)) {
    const value = Number(number);
    const labels = Object.fromEntries(
      Array.from(labelText.matchAll(labelPattern), ([, name, label]) => [name, label]),
    );
    const { eip = "", state = "", reason = "" } = labels;
    if (metric === "natgw_eip_port_utilization_ratio") portRatios.set(eip, value);
    else if (metric === "natgw_eip_connections") add(connections, state, value);
    else if (metric.endsWith("_bytes_total")) add(bytes, eip, value);
    else if (metric === "natgw_dropped_packets_total") add(drops, reason, value);
    else plain.set(metric, value);
  }
  const [entries, max] = [plain.get("natgw_conntrack_entries"), plain.get("natgw_conntrack_max")];
  return { atMs, entries, max, portRatios, connections, bytes, drops };
}

function add(map: Map<string, number>, key: string, value: number): void {
  map.set(key, (map.get(key) ?? 0) + value);
}

export interface Ranked {
  readonly name: string;
  readonly value: number;
}

/** The largest ones that are above 0. */
export function largest(values: ReadonlyMap<string, number>, count: number): readonly Ranked[] {
  return Array.from(values, ([name, value]) => ({ name, value }))
    .filter(({ value }) => value > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, count);
}

/** By how much each counter rose in a second. A counter that fell was reset. */
export function rates(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  seconds: number,
): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  if (seconds <= 0) return found;
  for (const [name, value] of after) {
    const earlier = before.get(name);
    if (earlier !== undefined && value >= earlier) found.set(name, (value - earlier) / seconds);
  }
  return found;
}
