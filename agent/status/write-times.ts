/** When recent revisions were written: since then an object is Pending that no pass has looked at. */

interface Group {
  /** The last revision of a group of writes. */
  readonly upTo: number;
  /** RFC 3339. */
  readonly at: string;
}

/** Says when a revision was written, or a little later than that. */
export type WrittenAt = (revision: number) => string;

/** Passes end within seconds. Only while none can run, the times of earlier groups are asked for. */
const maxGroups = 2_000;

export class WriteTimes {
  readonly #revision: number;
  readonly #startedAt: string;
  /** Oldest first. Grows; what a view has seen of it does not change. */
  #groups: Group[] = [];

  /** @param revision the one at the start: everything up to it counts as written then */
  constructor(revision: number, startedAt: string) {
    this.#revision = revision;
    this.#startedAt = startedAt;
  }

  note(upTo: number, at: string): void {
    if (this.#groups.length >= maxGroups) this.#groups = this.#groups.slice(maxGroups / 2);
    this.#groups.push({ upTo, at });
  }

  /** What it answers does not change afterwards. */
  reader(): WrittenAt {
    const groups = this.#groups;
    return (revision) => {
      if (revision <= this.#revision) return this.#startedAt;
      let [from, to] = [0, groups.length];
      while (from < to) {
        const middle = (from + to) >>> 1;
        if ((groups[middle]?.upTo ?? 0) < revision) from = middle + 1;
        else to = middle;
      }
      return groups[from]?.at ?? this.#startedAt;
    };
  }
}
