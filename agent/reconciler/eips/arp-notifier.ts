/** Announces the EIPs that a pass found or added, and asks about those that it found. */
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { Program } from "../../../lib/model/program.ts";
import { heldIn } from "../../../lib/plan/network/bindings.ts";
import type { Announcer } from "../../kernel/drivers.ts";
import type { ArpConflicts } from "./arp-conflicts.ts";

export interface ArpNotifierDeps {
  readonly announcer: Pick<Announcer, "announce">;
  readonly arpConflicts: Pick<ArpConflicts, "ask">;
}

export class ArpNotifier {
  readonly #deps: ArpNotifierDeps;
  #isFirst = true;

  constructor(deps: ArpNotifierDeps) {
    this.#deps = deps;
  }

  /** Announces EIPs that were added, and at the start those that stood: some hosts may remember another MAC for them. */
  tell({ eips }: Program, before: ObservedNetwork, after: ObservedNetwork): void {
    const { announcer, arpConflicts } = this.#deps;
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    if (!isFirst && before === after) return;
    const held = new Set(heldIn(before).map(({ address }) => address));
    const present = new Set(heldIn(after).map(({ address }) => address));
    const isNews = isFirst ? present : present.difference(held);
    const news = eips.filter(({ address }) => isNews.has(address));
    announcer.announce(news);
    // What was added was asked about before.
    if (isFirst) arpConflicts.ask(news.filter(({ address }) => held.has(address)));
  }
}
