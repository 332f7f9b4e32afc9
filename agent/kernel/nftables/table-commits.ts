/**
 * Commits that left one table as it was: those of any program to other tables, as the journal tells, and own ones that are
 * noted. Large tables need not be read again when others write.
 */
import type { TableLabel } from "../../../lib/nftables/foreign.ts";
import type { CommitJournal } from "../commit-journal.ts";
import type { KnownCommits } from "./kept-reading.ts";
import { OwnCommits } from "./own-commits.ts";

export class TableCommits implements KnownCommits {
  readonly #table: TableLabel;
  /** Must not be shared: `since` discards the commits up to the generation that it is given. */
  readonly #journal: CommitJournal;
  readonly #own: OwnCommits;

  /** @param own own commits, to this table and to others whose drivers share them */
  constructor(table: TableLabel, journal: CommitJournal, own = new OwnCommits()) {
    this.#table = table;
    this.#journal = journal;
    this.#own = own;
  }

  /** Everything is about to be read. @param readGeneration reads the current generation */
  async restart(readGeneration: () => Promise<number>): Promise<void> {
    this.#journal.restart();
    const begun = this.#journal.beginReading();
    begun(await readGeneration());
  }

  /** An own commit to the table, on this generation. */
  note(generation: number): void {
    this.#own.note(generation);
  }

  latest(generation: number): number {
    for (let last = generation; ; ) {
      const own = this.#own.latest(last);
      const others = this.#journal.since(own);
      const next = others === undefined || others.tables.has(this.#table) ? own : others.generation;
      if (next === last) return last;
      last = next;
    }
  }
}
