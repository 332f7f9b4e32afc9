/**
 * The file that holds the state: a snapshot, then one line a group of changes.
 *
 * A file is trusted as long as every write and sync of it succeeded. Once one failed in a way that leaves open what
 * the disk holds, the file is given up, and the next write makes a whole new one beside it and renames it into
 * place. Compaction and the very first write go the same way, so that there is one way to make a journal.
 */
import type { Log } from "../log.ts";
import type { Codec } from "./codec.ts";
import type { StateDirectory, StateFile } from "./directory.ts";
import { encodeGroup, encodeRecord } from "./records.ts";
import { journalFormat, type Recovered } from "./recovery.ts";
import { journalName, moveAside, temporaryName, writeAll } from "./set-aside.ts";

/** A journal is compacted once it is this many times as long as its snapshot, but not while it is small. */
const growthFactor = 4;
const defaultSmallestCompacted = 1024 * 1024;

export interface JournalDeps<State, Change> {
  readonly directory: StateDirectory;
  readonly codec: Codec<State, Change>;
  /** Wall clock in ms, for the names of what is set aside. */
  readonly now: () => number;
  readonly log: Pick<Log, "info" | "warn" | "error">;
  /** Bytes up to which a journal is never compacted; 1 MiB where it is left out. */
  readonly smallestCompacted?: number;
}

export class Journal<State, Change> {
  readonly #parts: JournalDeps<State, Change>;
  readonly #smallestCompacted: number;
  #file: StateFile | undefined;
  /** What the disk holds is known to be the first `#length` bytes: a file that could not be opened may be tried again. */
  #isWhole: boolean;
  #length: number;
  #seq: number;
  #compactAt: number;
  #isOldInTheWay: boolean;

  constructor(parts: JournalDeps<State, Change>, recovered: Recovered<State>) {
    this.#parts = parts;
    this.#smallestCompacted = parts.smallestCompacted ?? defaultSmallestCompacted;
    this.#file = recovered.file;
    this.#isWhole = recovered.isWhole;
    this.#length = recovered.length;
    this.#seq = recovered.seq;
    this.#compactAt = this.#compactionPoint(recovered.snapshotLength);
    this.#isOldInTheWay = recovered.isInTheWay;
  }

  /**
   * Makes the step from `before` to `after` durable as one line. Where it throws, a reading gives `before`; only
   * where the disk also refused every repair may it give `after`, until a later write succeeds.
   */
  async append(changes: readonly Change[], before: State, after: State): Promise<void> {
    const { codec, directory } = this.#parts;
    if (!this.#isWhole) return await this.#rewrite(after, this.#seq + 1);
    this.#file ??= await directory.open(journalName, "existing");
    const line = await encodeGroup(this.#seq + 1, codec.encodeChanges(changes));
    let isWritten = false;
    try {
      await writeAll(this.#file, line, this.#length);
      isWritten = true;
      await this.#file.sync();
    } catch (error) {
      const isRetracted = await this.#retract(this.#file);
      // After a failed sync the kernel marks the pages clean: the next sync would succeed without having written
      // them, and what the disk holds of this file is unknown. Only another file can be believed.
      if (isWritten || !isRetracted) await this.#replace(before);
      throw error;
    }
    this.#seq += 1;
    this.#length += line.length;
  }

  /** Begins a new file where this one has outgrown its snapshot. A failure loses nothing and stops nothing. */
  async compactIfGrown(state: State): Promise<void> {
    if (!this.#isWhole || this.#length <= this.#compactAt) return;
    try {
      await this.#rewrite(state, this.#seq);
    } catch (err) {
      this.#compactAt = this.#length + this.#smallestCompacted;
      this.#parts.log.warn({ err, bytes: this.#length }, "could not compact the journal");
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Writes a new file that begins with `state` and puts it in the old one's place. */
  async #rewrite(state: State, seq: number): Promise<void> {
    const { directory, codec, now } = this.#parts;
    if (this.#isOldInTheWay) {
      await moveAside(directory, now());
      this.#isOldInTheWay = false;
    }
    const line = encodeRecord({ format: journalFormat, seq, snapshot: codec.encodeState(state) });
    const file = await directory.open(temporaryName, "create");
    try {
      await writeAll(file, line, 0);
      await file.sync();
      await directory.rename(temporaryName, journalName);
    } catch (error) {
      await this.#tidy(() => file.close());
      await this.#tidy(() => directory.remove(temporaryName));
      throw error;
    }
    // The name leads to the new file from here on, though perhaps not yet after a power cut: until the directory is
    // synced, neither file may take a write that is acknowledged.
    await this.#giveUp();
    try {
      await directory.sync();
    } catch (error) {
      await this.#tidy(() => file.close());
      throw error;
    }
    this.#file = file;
    this.#isWhole = true;
    this.#seq = seq;
    this.#length = line.length;
    this.#compactAt = this.#compactionPoint(line.length);
  }

  #compactionPoint(snapshotLength: number): number {
    return Math.max(this.#smallestCompacted, growthFactor * snapshotLength);
  }

  /** Cuts a failed write off again, so that no later reading brings back what its caller was refused. */
  async #retract(file: StateFile): Promise<boolean> {
    return await this.#tidy(async () => {
      await file.truncate(this.#length);
      await file.sync();
    });
  }

  /** Gives the file up for a new one with the last good state; where that fails too, the next write tries again. */
  async #replace(state: State): Promise<void> {
    await this.#giveUp();
    await this.#tidy(() => this.#rewrite(state, this.#seq));
  }

  async #giveUp(): Promise<void> {
    this.#isWhole = false;
    await this.#tidy(() => this.close());
  }

  /** Clearing up after a failure that is already on its way to the caller: a further one is logged. */
  async #tidy(step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (err) {
      this.#parts.log.warn({ err }, "could not clear up after a failed write of the journal");
      return false;
    }
  }
}
