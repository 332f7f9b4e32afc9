/** The file of the audit log: one JSON object per line, rotated once, so that two files of bounded size exist. */
import { rename } from "node:fs/promises";
import { AppendFile, type OpenAppendFile } from "../store/append-file.ts";

export class AuditFile {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #open: OpenAppendFile | undefined;
  #file: AppendFile | undefined;

  /** @param maxBytes of both files together */
  constructor(path: string, maxBytes: number, openFile?: OpenAppendFile) {
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#open = openFile;
  }

  /** The current file, and the one before it. */
  get paths(): readonly [string, string] {
    return [this.path, `${this.path}.1`];
  }

  /** Appends whole lines. If it throws, a part of them may be in the file. */
  async append(lines: string): Promise<void> {
    const bytes = Buffer.from(lines);
    try {
      let file = await this.#opened();
      if (file.length > 0 && file.length + bytes.length > this.#maxBytes / 2) {
        await this.close();
        await rename(...this.paths);
        file = await this.#opened();
      }
      await file.append(bytes);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #opened(): Promise<AppendFile> {
    const before = this.#file;
    if (before !== undefined && (await before.isInPlace())) return before;
    await this.close();
    this.#file = await AppendFile.open(this.path, this.#open);
    return this.#file;
  }
}
