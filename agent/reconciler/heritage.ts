/** What an earlier life with another dataplane left behind: looked at once, and cleared once this one is verified. */
import type { Change } from "../../lib/plan/change.ts";
import type { Predecessor } from "../kernel/seams.ts";

export class Heritage {
  readonly #predecessorsOf: () => readonly Predecessor[];
  #predecessors: readonly Predecessor[] | undefined;
  #holdsRules = false;

  constructor(predecessorsOf: () => readonly Predecessor[]) {
    this.#predecessorsOf = predecessorsOf;
  }

  /** True where one of them still translates for somebody. */
  get holdsRules(): boolean {
    return this.#holdsRules;
  }

  async look(signal: AbortSignal): Promise<void> {
    if (this.#predecessors !== undefined) return;
    const predecessors = this.#predecessorsOf();
    const holding = await Promise.all(predecessors.map((predecessor) => predecessor.holdsRules(signal)));
    this.#holdsRules = holding.includes(true);
    this.#predecessors = predecessors;
  }

  /** @returns what was taken out; nothing once it is done */
  async clear(signal: AbortSignal): Promise<readonly Change[]> {
    const changes: Change[] = [];
    const waiting = [...(this.#predecessors ?? [])];
    for (const predecessor of waiting) {
      changes.push(...(await predecessor.clear(signal)));
      this.#predecessors = this.#predecessors?.filter((other) => other !== predecessor);
    }
    this.#holdsRules = false;
    return changes;
  }
}
