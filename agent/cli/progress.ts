/** Shows on a terminal how far the agent is, while a write waits. */
import { setTimeout as sleep } from "node:timers/promises";
import { grouped } from "../../lib/text/quantities.ts";
import type { Context } from "./context.ts";
import type { GatewayStatus } from "./documents.ts";
import { exitCodes } from "./failures.ts";

const pauseMs = 300;

/** `base` is the revision before the write. Ctrl-C tells whether it was stored. */
export async function whileWaiting<T>(
  { api, terminal }: Context,
  base: number,
  send: () => Promise<T>,
): Promise<T> {
  const done = new AbortController();
  let stored: number | undefined;
  const onInterrupt = () => {
    terminal.note(
      stored === undefined
        ? "interrupted: whether it was stored is unknown, natgwctl status tells"
        : `interrupted: revision ${stored} is stored, and the agent goes on`,
    );
    process.exit(exitCodes.interrupted);
  };
  process.once("SIGINT", onInterrupt);
  const watching = watch();
  try {
    return await send();
  } finally {
    done.abort();
    await watching;
    process.off("SIGINT", onInterrupt);
    terminal.endProgress();
  }

  async function watch(): Promise<void> {
    try {
      while (!done.signal.aborted) {
        await sleep(pauseMs, undefined, { signal: done.signal });
        const { revision, objects } = await api.get<GatewayStatus>("/v1/status", { signal: done.signal });
        if (revision.desired > base) stored = revision.desired;
        const counts = Object.values(objects);
        const ready = counts.reduce((sum, one) => sum + one.ready, 0);
        const total = counts.reduce((sum, one) => sum + one.total, 0);
        terminal.progress(
          `revision ${revision.desired}, applied ${revision.applied}: ${grouped(ready)} of ${grouped(total)} objects Ready`,
        );
      }
    } catch {
      // The write itself tells what is wrong.
    }
  }
}
