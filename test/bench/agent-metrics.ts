/** The agent's own metrics at `/metrics`. */
import type { ApiClient } from "../support/api-client.ts";

/** The value of a series without labels. NaN if there is none. */
export type Metrics = (name: string) => number;

export async function readMetrics(api: ApiClient): Promise<Metrics> {
  const body = await api.metrics();
  return (name) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body)?.[1]);
}

/** The memory use as text. */
export function describeHeap(metrics: Metrics): string {
  const mib = (name: string) => `${(metrics(name) / (1 << 20)).toFixed(0)} MiB`;
  return `heap ${mib("nodejs_heap_size_used_bytes")} used of ${mib("nodejs_heap_size_total_bytes")}, outside of it ${mib("nodejs_external_memory_bytes")}`;
}
