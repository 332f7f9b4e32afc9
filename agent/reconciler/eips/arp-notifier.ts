/** What those on the wire are told, and asked, about the EIPs that a pass found or brought about. */
import type { Program } from "../../../lib/model/program.ts";
import { heldIn } from "../../../lib/plan/network/bindings.ts";
import type { Seen } from "../pass/outlook.ts";
import type { PassDeps } from "../pass/pass-result.ts";

export class ArpNotifier {
  readonly #parts: Pick<PassDeps, "announcer" | "arpConflicts">;
  #isFirst = true;

  constructor(parts: Pick<PassDeps, "announcer" | "arpConflicts">) {
    this.#parts = parts;
  }

  /** Announces EIPs that were added, and at the start those that stood: some may remember another's MAC for them. */
  tell({ eips }: Program, before: Seen, after: Seen): void {
    const { announcer, arpConflicts } = this.#parts;
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    if (!isFirst && before.network === after.network) return;
    const held = new Set(heldIn(before.network).map(({ address }) => address));
    const present = new Set(heldIn(after.network).map(({ address }) => address));
    const isNews = isFirst ? present : present.difference(held);
    const news = eips.filter(({ address }) => isNews.has(address));
    announcer.announce(news);
    // What was added was asked about before.
    if (isFirst) arpConflicts.ask(news.filter(({ address }) => held.has(address)));
  }
}
