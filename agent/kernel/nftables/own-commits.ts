/**
 * The agent's own commits, for drivers that each keep what they read of one table: a commit of one of them leaves what another
 * read as it was.
 */
import { nextGeneration } from "../../../lib/nftables/commits.ts";

/** More than a pass makes. */
const maxKept = 64;

export class OwnCommits {
  /** The generation after each commit, by the one before it. */
  readonly #after = new Map<number, number>();

  note(generation: number): void {
    this.#after.set(generation, nextGeneration(generation));
    const [oldest] = this.#after.keys();
    if (this.#after.size > maxKept && oldest !== undefined) this.#after.delete(oldest);
  }

  /** The last generation such that only own commits lie between it and this one. */
  latest(generation: number): number {
    let last = generation;
    for (let next = this.#after.get(last); next !== undefined; next = this.#after.get(last)) last = next;
    return last;
  }
}
