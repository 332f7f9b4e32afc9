/** Connects the kernel's events with the reconciler: what others write wakes a pass, lost events a full reading. */
import type { Family } from "../lib/model/family.ts";
import type { Config } from "./config.ts";
import { createKernelEvents, monitorsOf } from "./kernel/events/kernel-events.ts";
import type { Log } from "./log.ts";
import type { Reconciler } from "./reconciler/reconciler.ts";
import type { Metrics } from "./status/metrics.ts";

export interface KernelWakesDeps {
  readonly config: Pick<Config, "dataplane" | "iptablesVariant">;
  readonly family: Family;
  readonly reconciler: Pick<Reconciler, "wake" | "wakeUnlessOwn" | "wakeUnlessRead" | "resync">;
  readonly metrics: Pick<Metrics, "eventsLost">;
  readonly log: Log;
}

export function createKernelWakes({ config, family, reconciler, metrics, log }: KernelWakesDeps) {
  return createKernelEvents({
    monitors: monitorsOf(family, config.dataplane === "nftables" || config.iptablesVariant !== "legacy"),
    onWake(kind) {
      if (kind === "rule") void reconciler.wakeUnlessOwn(kind);
      else if (kind === "address" || kind === "route") void reconciler.wakeUnlessRead(kind);
      else reconciler.wake(kind);
    },
    onLost: (reason) => {
      metrics.eventsLost.inc();
      reconciler.resync(reason);
    },
    log,
  });
}
