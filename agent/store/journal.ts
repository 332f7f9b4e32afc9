/**
 * The journal file: a snapshot, then one line per group of changes.
 *
 * The journal trusts the file while three things hold: every write and sync succeeded, the journal's name leads to this
 * file, and the file has the length that the agent wrote. Otherwise it writes the whole state to a new file and renames
 * that into place. Compaction, a change of format and the first write use the same code.
 */
import { GatewayError } from "../../lib/model/errors.ts";
import type { Log } from "../log.ts";
import { runYielding } from "../run-yielding.ts";
import type { Codec } from "./codec.ts";
import type { Look, StateDirectory, StateFile } from "./directory.ts";
import { unlessAbsent } from "./file-id.ts";
import { encodeChunked } from "./records.ts";
import type { Recovered } from "./recovery.ts";
import { appendAll, journalName, moveAside, temporaryName } from "./set-aside.ts";

/** The journal is compacted when it is this many times as long as its snapshot, and longer than `smallestCompacted`. */
const growthFactor = 4;
const defaultSmallestCompacted = 1024 * 1024;

export interface JournalDeps<State, Change> {
  readonly directory: StateDirectory;
  readonly codec: Codec<State, Change>;
  /** Wall clock in ms, for the names of files that are set aside. */
  readonly now: () => number;
  readonly log: Pick<Log, "info" | "warn" | "error">;
  /** A journal of up to this many bytes is never compacted. Default: 1 MiB. */
  readonly smallestCompacted?: number;
}

export class Journal<State, Change> {
  readonly #deps: JournalDeps<State, Change>;
  readonly #smallestCompacted: number;
  #file: StateFile | undefined;
  /** Id of the file that the journal's name must lead to. `undefined` if no file of ours has that name. */
  #id: string | undefined;
  /** The file holds exactly the `#length` bytes that were written. If it is not open, it can be opened again. */
  #isWhole: boolean;
  #length: number;
  #seq: number;
  #compactAt: number;
  /** What was found under the journal's name and cannot be read. */
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
   * Appends the changes from `before` to `after` as one durable line. If it throws, reading the journal gives `before`.
   * There is one exception: if the disk also refused every repair, reading may give `after` until a later write
   * succeeds.
   */
  async append(changes: readonly Change[], before: State, after: State): Promise<void> {
    const { codec } = this.#deps;
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
      const isUndone = await this.#undoAppend(file);
      // After a failed fsync the kernel marks the pages clean: the next fsync succeeds without writing them, so the
      // content of this file on disk is unknown. Only a new file can be trusted.
      if (isWritten || !isUndone) await this.#replace(before);
      throw error;
    }
    this.#warnOfChange();
    await this.#undoAppend(file);
    await this.#giveUp();
    await this.#rewrite(after, this.#seq + 1);
  }

  /**
   * Starts a new file if the journal has grown too long. If that fails, the old file stays in use and nothing is lost.
   */
  async compactIfGrown(state: State): Promise<void> {
    if (!this.#isWhole || this.#length <= this.#compactAt) return;
    try {
      await this.#rewrite(state, this.#seq);
    } catch (err) {
      this.#compactAt = this.#length + this.#smallestCompacted;
      this.#deps.log.warn({ err, bytes: this.#length }, "cannot compact the journal");
    }
  }

  /**
   * If another program moved, replaced, changed or removed the journal: writes `state` to a new one. Costs two calls of
   * stat(2) otherwise. Throws if the new one cannot be written.
   *
   * @returns true if it wrote
   */
  async repair(state: State): Promise<boolean> {
    const wasWritten = this.#seq > 0;
    if (!wasWritten || this.#obstacle !== undefined) return false;
    if (this.#isWhole) {
      if (await this.#isInPlace(this.#length)) return false;
      this.#warnOfChange();
      await this.#giveUp();
    }
    await this.#rewrite(state, this.#seq);
    return true;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Writes a new file with `state` as its snapshot, and renames it into place. */
  async #rewrite(state: State, seq: number): Promise<void> {
    const { directory, codec } = this.#deps;
    await directory.hold();
    await this.#moveForeignFile();
    const parts = codec.encodeStateChunked?.(state);
    const snapshot = parts === undefined ? codec.encodeState(state) : await runYielding(parts);
    const line = await encodeChunked({ format: codec.format, seq, snapshot });
    const file = await directory.open(temporaryName, "create");
    try {
      await appendAll(file, line);
      await file.sync();
      await directory.rename(temporaryName, journalName);
    } catch (error) {
      await this.#cleanUp(() => file.close());
      await this.#cleanUp(() => directory.remove(temporaryName));
      throw error;
    }
    // The name now leads to the new file, but after a power cut it may lead to the old one. Until the directory is
    // synced, no write to either file may be acknowledged.
    await this.#giveUp();
    this.#id = file.id;
    try {
      await directory.sync();
    } catch (error) {
      await this.#cleanUp(() => file.close());
      throw error;
    }
    this.#file = file;
    this.#isWhole = true;
    this.#seq = seq;
    this.#length = line.length;
    this.#compactAt = this.#compactionPoint(line.length);
  }

  /** The open journal file. `undefined` if a new one must be written. */
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

  /** Whether the journal's name leads to the open file and the file has exactly `length` bytes. */
  async #isInPlace(length: number): Promise<boolean> {
    let look: Look;
    try {
      look = await this.#deps.directory.look(journalName);
    } catch (err) {
      this.#deps.log.warn({ err }, "cannot check which file the journal's name leads to");
      return false;
    }
    return look.isHeld && look.file?.id === this.#id && look.file?.length === length;
  }

  #warnOfChange(): void {
    this.#deps.log.warn(
      { directory: this.#deps.directory.path },
      "another program moved, replaced, changed or removed the journal: writing the whole state to a new file",
    );
  }

  /** Moves a foreign file away from the journal's name. Throws if that file must stay (written by a newer version). */
  async #moveForeignFile(): Promise<void> {
    const { directory, log, now } = this.#deps;
    if (this.#obstacle?.kind === "too-new")
      throw new GatewayError("storage-unavailable", this.#obstacle.detail);
    const { file } = await directory.look(journalName);
    if (file !== undefined && file.id !== this.#id) {
      const aside = await moveAside(directory, this.#obstacle?.kind ?? "replaced", now());
      log.warn({ directory: directory.path, aside }, "moved a foreign file away from the journal's name");
    }
    this.#obstacle = undefined;
  }

  #compactionPoint(snapshotLength: number): number {
    return Math.max(this.#smallestCompacted, growthFactor * snapshotLength);
  }

  /** Truncates a failed write, so that no later read finds what was refused. */
  async #undoAppend(file: StateFile): Promise<boolean> {
    return await this.#cleanUp(async () => {
      await file.truncate(this.#length);
      await file.sync();
    });
  }

  /** Writes the last durable state to a new file. If that fails too, the next write tries again. */
  async #replace(state: State): Promise<void> {
    await this.#giveUp();
    await this.#cleanUp(() => this.#rewrite(state, this.#seq));
  }

  async #giveUp(): Promise<void> {
    this.#isWhole = false;
    await this.#cleanUp(() => this.close());
  }

  /** Runs a cleanup step after a failure that the caller already knows. A further failure is only logged. */
  async #cleanUp(step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (err) {
      this.#deps.log.warn({ err }, "cleanup after a failed journal write failed");
      return false;
    }
  }
}
