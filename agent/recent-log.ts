/** Keeps the last lines of the agent's log, so that a report of a fault has them wherever the log is collected. */
import { type DestinationStream, destination } from "pino";

const maxLines = 1_000;
/** In characters. */
const maxLength = 256 * 1024;

export class RecentLog implements DestinationStream {
  readonly #out: DestinationStream;
  #lines: string[] = [];
  #length = 0;

  /** @param out where the log goes: by default standard output */
  constructor(out: DestinationStream = destination(1)) {
    this.#out = out;
  }

  write(line: string): void {
    this.#out.write(line);
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#lines.length <= maxLines && this.#length <= maxLength) return;
    // Half of it at a time: each line would move all others.
    while (this.#lines.length > maxLines / 2 || this.#length > maxLength / 2) {
      const half = this.#lines.splice(0, Math.ceil(this.#lines.length / 2));
      for (const { length } of half) this.#length -= length;
    }
  }

  /** One JSON object per line, the oldest first. */
  get text(): string {
    return this.#lines.join("");
  }
}
