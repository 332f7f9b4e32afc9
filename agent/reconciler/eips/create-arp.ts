/** Creates the components that probe and listen for other holders of EIPs. */
import type { Ip } from "../../../lib/model/ip.ts";
import type { AddressOnLink, Announcer } from "../../kernel/drivers.ts";
import type { Log } from "../../log.ts";
import { ArpAnswers } from "./arp-answers.ts";
import { ArpConflicts, type ClaimResult } from "./arp-conflicts.ts";
import { ArpProbe } from "./arp-probe.ts";
import { ArpWatch } from "./arp-watch.ts";
import { ProbeQueue } from "./probe-queue.ts";

export interface ArpOptions {
  readonly announcer: Announcer;
  /** False: no probing and no listening, and every address counts as free. */
  readonly isProbing: boolean;
  /** The EIPs that the gateway held at the last reading. */
  readonly held: () => ReadonlyMap<Ip, AddressOnLink>;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** A random number from 0 to 1. */
  readonly random: () => number;
  /** Wakes a pass, because there is something new. */
  readonly wake: (reason: "probe" | "conflict") => void;
  readonly onClaim: (result: ClaimResult) => void;
  readonly log: Log;
}

export interface Arp {
  readonly arpProbe: ArpProbe;
  readonly arpConflicts: ArpConflicts;
  readonly arpAnswers: ArpAnswers;
  start(): void;
  stop(): Promise<void>;
}

export function createArp({ announcer, isProbing, wake, log, ...options }: ArpOptions): Arp {
  const onFailure = (err: unknown) => log.warn({ err }, "cannot probe for other holders of EIPs");
  const prober = isProbing ? announcer : undefined;
  const queue = new ProbeQueue({ announcer, onFailure, ...options });
  const parts = { announcer: prober, queue, log, ...options };
  const arpProbe = new ArpProbe({ ...parts, onAnswer: () => wake("probe"), onFailure });
  const arpConflicts = new ArpConflicts({ ...parts, onChange: () => wake("conflict") });
  const arpAnswers = new ArpAnswers(options);
  const watch = new ArpWatch({ announcer, arpProbe, arpConflicts, arpAnswers, log, ...options });
  return {
    arpProbe,
    arpConflicts,
    arpAnswers,
    start: () => {
      if (!isProbing) return;
      queue.start();
      watch.start();
    },
    stop: async () => {
      watch.stop();
      await Promise.all([queue.stop(), arpProbe.stop(), arpConflicts.stop()]);
    },
  };
}
