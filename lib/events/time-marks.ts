/** When events happened, to the second: which sequence was the last one at a time. */

interface Mark {
  readonly atMs: number;
  readonly sequence: number;
}

const maxMarks = 3_600;
const spacingMs = 1_000;

export class TimeMarks {
  /** In order. Between two of them at least a second passed. */
  readonly #marks: Mark[];

  constructor(startMs: number, start: number) {
    this.#marks = [{ atMs: startMs, sequence: start }];
  }

  /** `sequence` is the last one now. */
  add(atMs: number, sequence: number): void {
    const last = this.#marks.at(-1);
    if (last !== undefined && atMs - last.atMs < spacingMs) return;
    this.#marks.push({ atMs, sequence });
    // Of the old ones every second one goes: what is long ago need not be exact.
    if (this.#marks.length > maxMarks) this.#marks.splice(0, this.#marks.length, ...everySecond(this.#marks));
  }

  /** A sequence that was the last one at `atMs` or before. `undefined` if all marks are later. */
  at(atMs: number): number | undefined {
    return this.#marks.findLast((mark) => mark.atMs <= atMs)?.sequence;
  }
}

function everySecond(marks: readonly Mark[]): Mark[] {
  return marks.filter((_, index) => index % 2 === 0);
}
