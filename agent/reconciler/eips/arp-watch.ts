/**
 * Receives ARP packets on links where EIPs are held or wanted, and passes them to the components that interpret them.
 */
import type { Ip } from "../../../lib/model/ip.ts";
import type { AddressOnLink, Announcer, HeardArp } from "../../kernel/drivers.ts";
import { atMostOncePer, type Log } from "../../log.ts";
import type { ArpAnswers } from "./arp-answers.ts";
import type { ArpConflicts } from "./arp-conflicts.ts";
import type { ArpProbe } from "./arp-probe.ts";

export interface ArpWatchOptions {
  readonly announcer: Pick<Announcer, "hear">;
  readonly arpProbe: Pick<ArpProbe, "links" | "hear">;
  readonly arpConflicts: Pick<ArpConflicts, "conflicts" | "hear">;
  readonly arpAnswers: Pick<ArpAnswers, "hear">;
  /** The EIPs that the gateway held at the last reading. */
  readonly held: () => ReadonlyMap<Ip, AddressOnLink>;
  readonly log: Log;
}

const idlePauseMs = 1_000;
/** Pause while there is a conflict or many packets arrive. */
const busyPauseMs = 200;
const manyPackets = 1_000;
const logPeriodMs = 60_000;

export class ArpWatch {
  readonly #options: ArpWatchOptions;
  readonly #logFailure: (err: unknown) => void;
  #pauseMs = idlePauseMs;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ArpWatchOptions) {
    this.#options = options;
    this.#logFailure = atMostOncePer(logPeriodMs, (err, times) =>
      options.log.warn({ err, times }, "cannot listen to ARP"),
    );
  }

  start(): void {
    this.#timer = setTimeout(() => {
      this.poll();
      this.start();
    }, this.#pauseMs).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  poll(): void {
    const { arpProbe, arpConflicts, arpAnswers } = this.#options;
    const heard = this.#hear();
    arpProbe.hear(heard);
    arpConflicts.hear(heard);
    arpAnswers.hear(heard);
    const hasConflicts = arpProbe.links.size + arpConflicts.conflicts.size > 0;
    this.#pauseMs = hasConflicts || heard.length >= manyPackets ? busyPauseMs : idlePauseMs;
  }

  #hear(): readonly HeardArp[] {
    const { announcer, arpProbe, held } = this.#options;
    try {
      const links = new Set(Array.from(held().values(), (place) => place.interface));
      return announcer.hear(links.union(arpProbe.links));
    } catch (err) {
      this.#logFailure(err);
      return [];
    }
  }
}
