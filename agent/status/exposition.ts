/** The metrics as text, in parts: with thousands of series one part would block the event loop for too long. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Registry } from "prom-client";

/** Other work waits so long at most, besides the largest metric. */
const partMs = 5;

/** Like `registry.metrics()`. */
export async function expositionOf(registry: Registry): Promise<string> {
  const parts: string[] = [];
  let begunMs = performance.now();
  for (const { name } of registry.getMetricsAsArray()) {
    parts.push(await registry.getSingleMetricAsString(name));
    if (performance.now() - begunMs < partMs) continue;
    await nextTurn();
    begunMs = performance.now();
  }
  return `${parts.join("\n\n")}\n`;
}
