/** A small file that is read again regularly, because secrets rotate. If it is not valid, what it last held stays in force. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Log } from "../../log.ts";

/** How often the file is read again, in milliseconds. */
export const recheckMs = 5_000;
/** Nothing longer is read: the path may be any file, even an endless device. */
const maxBytes = 256 * 1024;

export interface WatchedFileOptions<T> {
  readonly path: string;
  /** The setting that names the file, for the error of the first reading. */
  readonly setting: string;
  /** Throws an Error with one line that says what is wrong, without any secret. */
  readonly parse: (text: string) => T;
  readonly log: Log;
  /** Monotonic. */
  readonly nowMs: () => number;
  /** The file holds something else than before. */
  readonly onChanged: () => void;
}

export class WatchedFile<T> {
  readonly #options: WatchedFileOptions<T>;
  #current: { readonly value: T } | undefined;
  /** Of what it held: it may hold a secret. */
  #digest: string | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #fault: string | undefined;

  constructor(options: WatchedFileOptions<T>) {
    this.#options = options;
  }

  /** What the file held when it was last valid. `undefined` before {@link load}. */
  get current(): T | undefined {
    return this.#current?.value;
  }

  /** Why the file is not valid now. `undefined` if it is. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Reads the file for the first time.
   * @throws `bad-config` if it is not valid
   */
  async load(): Promise<void> {
    const { path, setting } = this.#options;
    try {
      await this.#read();
    } catch (cause) {
      throw new GatewayError("bad-config", `${setting}: ${path}: ${messageOf(cause)}`, { cause });
    }
  }

  /** Reads the file again if the last read is older than {@link recheckMs}. Never rejects. */
  async recheck(): Promise<void> {
    if (this.#options.nowMs() - this.#readAtMs < recheckMs) return this.#reading;
    this.#readAtMs = this.#options.nowMs();
    this.#reading ??= this.#reload().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    const text = await readText(this.#options.path);
    this.#current = { value: this.#options.parse(text) };
    this.#readAtMs = this.#options.nowMs();
    const before = this.#digest;
    this.#digest = createHash("sha256").update(text).digest("hex");
    if (before !== undefined && before !== this.#digest) this.#options.onChanged();
  }

  async #reload(): Promise<void> {
    const { path, log } = this.#options;
    const before = this.#fault;
    try {
      await this.#read();
      this.#fault = undefined;
      if (before !== undefined) log.info({ path }, "the file of credentials is valid again");
    } catch (err) {
      this.#fault = messageOf(err);
      if (this.#fault !== before)
        log.warn({ err, path }, "the file of credentials is not valid, the last credentials stay in force");
    }
  }
}

async function readText(path: string): Promise<string> {
  // Without O_NONBLOCK, a pipe without a writer would keep the thread.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await readWhole(file);
  } finally {
    await file.close();
  }
}

async function readWhole(file: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(maxBytes + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) return buffer.toString("latin1", 0, length);
    length += bytesRead;
  }
  throw new Error(`the file is larger than ${maxBytes} bytes`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
