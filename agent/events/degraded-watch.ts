/** Reports when the reasons why the gateway is degraded change. */
import type { Degradation } from "../../lib/model/degradation.ts";
import type { EventHub } from "./hub.ts";

export class DegradedWatch {
  readonly #hub: Pick<EventHub, "report">;
  readonly #read: () => readonly Degradation[];
  #last: readonly Degradation[] = [];

  /** @param read the current reasons */
  constructor(hub: Pick<EventHub, "report">, read: () => readonly Degradation[]) {
    this.#hub = hub;
    this.#read = read;
  }

  /** Call it when something may have changed, and from time to time: not all that degrades a gateway says so. */
  look(): void {
    const now = this.#read();
    const before = this.#last;
    if (now.length === before.length && now.every((one, index) => isSame(one, before[index]))) return;
    this.#last = now;
    const [reasons, known] = [reasonsOf(now), reasonsOf(before)];
    this.#hub.report("degraded", {
      degraded: now,
      added: [...reasons.difference(known)],
      removed: [...known.difference(reasons)],
    });
  }
}

function reasonsOf(list: readonly Degradation[]): Set<Degradation["reason"]> {
  return new Set(list.map(({ reason }) => reason));
}

function isSame(one: Degradation, other: Degradation | undefined): boolean {
  return one.reason === other?.reason && one.message === other.message;
}
