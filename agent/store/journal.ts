/**
 * The file that holds the state: a snapshot, then one line a group of changes.
 *
 * The file is trusted while every write and sync of it succeeds, and while the journal's name leads to it and its length is
 * what the agent wrote. Otherwise it is given up, and a new one with the whole state is made beside it and renamed into
 * place. Compaction, the step to another format and the first write go the same way: there is one way to make a journal.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Log } from "../log.ts";
import type { Codec } from "./codec.ts";
import type { Look, StateDirectory, StateFile } from "./directory.ts";
import { unlessAbsent } from "./file-id.ts";
import { encodeChunked } from "./records.ts";
import type { Recovered } from "./recovery.ts";
import { appendAll, journalName, moveAside, temporaryName } from "./set-aside.ts";

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
  readonly #deps: JournalDeps<State, Change>;
  readonly #smallestCompacted: number;
  #file: StateFile | undefined;
  /** The file that the journal's name must lead to; `undefined` where it leads to none of ours. */
  #id: string | undefined;
  /** The file holds exactly the first `#length` bytes of what was written: where it is not open, it may be opened again. */
  #isWhole: boolean;
  #length: number;
  #seq: number;
  #compactAt: number;
  /** What was found under the journal's name and could not be read. */
  #obstacle: Recovered<State>["obstacle"];

  constructor(deps: JournalDeps<State, Change>, recovered: Recovered<State>) {
    this.#deps = deps;
    this.#smallestCompacted = deps.smallestCompacted ?? defaultSmallestCompacted;
    this.#file = recovered.file;
    this.#id = recovered.id;
    this.#isWhole = recovered.isWhole;
    this.#length = recovered.length;
    this.#seq = recovered.seq;
    this.#compactAt = this.#compactionPoint(recovered.snapshotLength);
    this.#obstacle = recovered.obstacle;
  }

  /**
   * Makes the step from `before` to `after` durable as one line. Where it throws, a reading gives `before`; only
   * where the disk also refused every repair may it give `after`, until a later write succeeds.
   */
  async append(changes: readonly Change[], before: State, after: State): Promise<void> {
    const { codec, log } = this.#deps;
    const file = await this.#opened();
    if (file === undefined) return await this.#rewrite(after, this.#seq + 1);
    const line = await encodeChunked({ seq: this.#seq + 1, changes: codec.encodeChanges(changes) });
    let isWritten = false;
    try {
      await appendAll(file, line);
      isWritten = true;
      const isInPlace = this.#isInPlace(this.#length + line.length);
      await file.sync();
      if (await isInPlace) {
        this.#seq += 1;
        this.#length += line.length;
        return;
      }
    } catch (error) {
      const isRetracted = await this.#retract(file);
      // After a failed sync the kernel marks the pages clean: the next sync would succeed without having written
      // them, and what the disk holds of this file is unknown. Only another file can be trusted.
      if (isWritten || !isRetracted) await this.#replace(before);
      throw error;
    }
    log.warn(
      { directory: this.#deps.directory.path },
      "somebody else moved, replaced or changed the journal: writing the whole state again",
    );
    await this.#retract(file);
    await this.#giveUp();
    await this.#rewrite(after, this.#seq + 1);
  }

  /** Begins a new file where this one has outgrown its snapshot. A failure loses nothing and stops nothing. */
  async compactIfGrown(state: State): Promise<void> {
    if (!this.#isWhole || this.#length <= this.#compactAt) return;
    try {
      await this.#rewrite(state, this.#seq);
    } catch (err) {
      this.#compactAt = this.#length + this.#smallestCompacted;
      this.#deps.log.warn({ err, bytes: this.#length }, "cannot compact the journal");
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Writes a new file that begins with `state` and puts it in the old one's place. */
  async #rewrite(state: State, seq: number): Promise<void> {
    const { directory, codec } = this.#deps;
    await directory.hold();
    await this.#clearTheWay();
    const snapshot = codec.encodeState(state);
    await nextTurn();
    const line = await encodeChunked({ format: codec.format, seq, snapshot });
    const file = await directory.open(temporaryName, "create");
    try {
      await appendAll(file, line);
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
    this.#id = file.id;
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

  /** The open journal; `undefined` where a new one must be made. */
  async #opened(): Promise<StateFile | undefined> {
    if (!this.#isWhole) return undefined;
    if (this.#file !== undefined) return this.#file;
    const file = await unlessAbsent(this.#deps.directory.open(journalName, "existing"));
    if (file === undefined || file.id === this.#id) {
      this.#file = file;
      return file;
    }
    await file.close();
    return undefined;
  }

  /** Whether a reading of the journal would read the open file, with all its `length` bytes and no others. */
  async #isInPlace(length: number): Promise<boolean> {
    let look: Look;
    try {
      look = await this.#deps.directory.look(journalName);
    } catch (err) {
      this.#deps.log.warn({ err }, "cannot see where the journal is");
      return false;
    }
    return look.isHeld && look.file?.id === this.#id && look.file?.length === length;
  }

  /** Moves aside a file that has the journal's name and is not ours. Throws where it is one that must stay. */
  async #clearTheWay(): Promise<void> {
    const { directory, log, now } = this.#deps;
    if (this.#obstacle?.kind === "too-new")
      throw new GatewayError("storage-unavailable", this.#obstacle.detail);
    const { file } = await directory.look(journalName);
    if (file !== undefined && file.id !== this.#id) {
      const aside = await moveAside(directory, this.#obstacle?.kind ?? "replaced", now());
      log.warn({ directory: directory.path, aside }, "set a file aside that is not the journal");
    }
    this.#obstacle = undefined;
  }

  #compactionPoint(snapshotLength: number): number {
    return Math.max(this.#smallestCompacted, growthFactor * snapshotLength);
  }

  /** Cuts a failed write off, so that no later reading finds what its caller was refused. */
  async #retract(file: StateFile): Promise<boolean> {
    return await this.#tidy(async () => {
      await file.truncate(this.#length);
      await file.sync();
    });
  }

  /** Makes a new file with the last durable state; where that fails too, the next write tries again. */
  async #replace(state: State): Promise<void> {
    await this.#giveUp();
    await this.#tidy(() => this.#rewrite(state, this.#seq));
  }

  async #giveUp(): Promise<void> {
    this.#isWhole = false;
    await this.#tidy(() => this.close());
  }

  /** Cleans up after a failure that the caller is told of already: a further one is only logged. */
  async #tidy(step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (err) {
      this.#deps.log.warn({ err }, "cannot clean up after a failed write of the journal");
      return false;
    }
  }
}
