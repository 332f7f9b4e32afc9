/** What an earlier life with another dataplane left behind: looked at once, and cleared once this one is verified. */
import type { Change } from "../../../lib/model/change.ts";
import type { OldPreviousDataplane as PreviousDataplane } from "../../kernel/old-dataplane.ts";

export class PreviousDataplanes {
  readonly #previousDataplanesOf: () => readonly PreviousDataplane[];
  #previousDataplanes: readonly PreviousDataplane[] | undefined;
  #holdsRules = false;

  constructor(previousDataplanesOf: () => readonly PreviousDataplane[]) {
    this.#previousDataplanesOf = previousDataplanesOf;
  }

  /** True where one of them still translates for somebody. */
  get holdsRules(): boolean {
    return this.#holdsRules;
  }

  async look(signal: AbortSignal): Promise<void> {
    if (this.#previousDataplanes !== undefined) return;
    const previousDataplanes = this.#previousDataplanesOf();
    const holding = await Promise.all(
      previousDataplanes.map((predecessor) => predecessor.holdsRules(signal)),
    );
    this.#holdsRules = holding.includes(true);
    this.#previousDataplanes = previousDataplanes;
  }

  /** @returns what was taken out; nothing once it is done */
  async clear(signal: AbortSignal): Promise<readonly Change[]> {
    const changes: Change[] = [];
    const waiting = [...(this.#previousDataplanes ?? [])];
    for (const predecessor of waiting) {
      changes.push(...(await predecessor.clear(signal)));
      this.#previousDataplanes = this.#previousDataplanes?.filter((other) => other !== predecessor);
    }
    this.#holdsRules = false;
    return changes;
  }
}
