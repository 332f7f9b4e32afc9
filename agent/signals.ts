/** What signals do: most end the agent in an orderly way. */
import closeWithGrace from "close-with-grace";
import type { Log } from "./log.ts";

/** Maximum time of a graceful stop. Then the process exits anyway. */
const stopDelayMs = 20_000;

/** Ignores SIGUSR1. Without a listener Node opens its debugger on loopback, which asks for no credentials. */
export function openNoDebugger(): void {
  process.on("SIGUSR1", () => {});
}

/** @param stop called once, at a signal or after an unexpected error */
export function stopOnSignals(log: Log, stop: () => Promise<void>): void {
  closeWithGrace({ delay: stopDelayMs, logger: false }, async ({ signal, err }) => {
    if (err !== undefined) log.fatal({ err }, "stopping after an unexpected error");
    else log.info({ signal }, "stopping; the dataplane is left unchanged");
    await stop();
  });
}
