/** Connects the kernel's events with the reconciler: what others write wakes a pass, lost events a full reading. */
import type { Family } from "../lib/model/family.ts";
import type { Config } from "./config.ts";
import { createKernelEvents, networkMonitor, ruleMonitor } from "./kernel/events/kernel-events.ts";
import type { Log } from "./log.ts";
import type { Reconciler } from "./reconciler/reconciler.ts";

export interface KernelWakesDeps {
  readonly config: Pick<Config, "dataplane" | "iptablesVariant">;
  readonly family: Family;
  readonly reconciler: Pick<Reconciler, "wake" | "wakeUnlessOwn" | "wakeUnlessRead" | "resync">;
  /** Called when events were lost. */
  readonly onLost: () => void;
  readonly log: Log;
}

export function createKernelWakes({ config, family, reconciler, onLost, log }: KernelWakesDeps) {
  return createKernelEvents({
    // iptables-legacy sends no events, and the system may have no nft.
    monitors:
      config.dataplane === "iptables" && config.iptablesVariant === "legacy"
        ? [networkMonitor(family)]
        : [networkMonitor(family), ruleMonitor],
    onWake(kind) {
      if (kind === "rule") void reconciler.wakeUnlessOwn(kind);
      else if (kind === "address" || kind === "route") void reconciler.wakeUnlessRead(kind);
      else reconciler.wake(kind);
    },
    onLost: (reason) => {
      onLost();
      reconciler.resync(reason);
    },
    log,
  });
}
