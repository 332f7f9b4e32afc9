/** Writes lines to stdout without ever blocking the event loop, however slowly somebody reads. */
import { constants, write } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { LineSink } from "./line-buffer.ts";

const stdout = 1;
const retryMs = 20;
const writeTo = promisify(write);

export class StdoutSink implements LineSink {
  /** A description of its own, so that it does not block although the process's stdout does. */
  #file: Promise<FileHandle | undefined> | undefined;
  #isClosed = false;

  async write(bytes: Buffer): Promise<void> {
    this.#file ??= open(
      `/proc/self/fd/${stdout}`,
      constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND,
    ).catch(
      // A socket cannot be opened again.
      () => undefined,
    );
    const file = await this.#file;
    for (let from = 0; from < bytes.length && !this.#isClosed; ) {
      try {
        const { bytesWritten } = await writeTo(file?.fd ?? stdout, bytes, from);
        from += bytesWritten;
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
        await delay(retryMs, undefined, { ref: false });
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await (await this.#file)?.close();
  }
}
