/** Counts the readers of events, and those that were cut off. */
import type { Log } from "../log.ts";
import type { Metrics } from "./metrics.ts";

export function meterReaders(
  metrics: Pick<Metrics, "eventReaders" | "eventReadersCutOff">,
  log: Pick<Log, "info">,
) {
  return {
    onCount: (readers: number) => metrics.eventReaders.set(readers),
    onCutOff: (reason: string) => {
      metrics.eventReadersCutOff.inc({ reason });
      log.info({ reason }, "cut off a reader of events");
    },
  };
}
