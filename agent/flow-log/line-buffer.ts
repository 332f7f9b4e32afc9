/**
 * Between those who log and the file: collects lines and writes them in batches. Never waits for the writer: if the
 * buffer is full, lines are dropped and counted.
 */
import { setTimeout as delay } from "node:timers/promises";

/** Where lines go. */
export interface LineSink {
  /** Writes whole lines. If it throws, some or all of them were not written. */
  write(bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

export interface LineBufferOptions {
  readonly sink: LineSink;
  readonly onWritten: (lines: number) => void;
  /** Lines that a failed write lost. */
  readonly onFailed: (lines: number, error: unknown) => void;
  readonly maxBytes?: number;
  readonly pauseMs?: number;
}

const maxBytes = 8 << 20;
/** One batch. Making a buffer of it takes about a millisecond. */
const batchChars = 512 << 10;
/** Between two writes, unless a whole batch waits. */
const pauseMs = 100;
/** After a failed write: the next one would fail, too. */
const failurePauseMs = 1_000;

export class LineBuffer {
  readonly #options: Required<LineBufferOptions>;
  #waiting: string[] = [];
  /** Lines are ASCII, so these are bytes. */
  #chars = 0;
  #stop = new AbortController();
  #wake = Promise.withResolvers<void>();
  readonly #running: Promise<void>;

  constructor(options: LineBufferOptions) {
    this.#options = { maxBytes, pauseMs, ...options };
    this.#running = this.#run();
  }

  /** A line with its newline. @returns false if it was dropped because too many wait */
  add(line: string): boolean {
    if (this.#chars + line.length > this.#options.maxBytes) return false;
    this.#waiting.push(line);
    this.#chars += line.length;
    this.#wake.resolve();
    return true;
  }

  /** Writes what waits, but does not wait longer than `deadlineMs` for it. */
  async stop(deadlineMs = 2_000): Promise<void> {
    this.#stop.abort();
    this.#wake.resolve();
    const limit = new AbortController();
    const late = delay(deadlineMs, undefined, { signal: limit.signal }).catch(() => undefined);
    await Promise.race([this.#running, late]);
    limit.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { sink, onFailed } = this.#options;
    const pause = (ms: number) => delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
    for (;;) {
      if (this.#waiting.length === 0) {
        if (signal.aborted) break;
        this.#wake = Promise.withResolvers();
        await this.#wake.promise;
        if (!signal.aborted) await pause(this.#options.pauseMs);
        continue;
      }
      const lines = this.#takeBatch();
      try {
        await sink.write(Buffer.from(lines.join(""), "latin1"));
        this.#options.onWritten(lines.length);
      } catch (error) {
        onFailed(lines.length, error);
        // At the end, one attempt is enough.
        if (signal.aborted) break;
        await pause(failurePauseMs);
      }
    }
    await sink.close().catch(() => undefined);
  }

  #takeBatch(): readonly string[] {
    let count = 0;
    let chars = 0;
    while (count < this.#waiting.length && chars < batchChars) chars += this.#waiting[count++]?.length ?? 0;
    this.#chars -= chars;
    return this.#waiting.splice(0, count);
  }
}
