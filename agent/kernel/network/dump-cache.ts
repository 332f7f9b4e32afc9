/**
 * Decodes the messages of a dump, all of one type, and gives back the very values of the last one where the kernel says the same again, byte
 * for byte: ten thousand addresses that nobody touched are neither decoded nor planned anew.
 */

/** Takes a message apart, its payload being `view` from `start` to `end`; `undefined` for one that is of no interest. */
export type Decode<T> = (view: DataView, start: number, end: number) => T | undefined;

export class DumpCache<T> {
  readonly #decode: Decode<T>;
  #last = new Transcript<T>();
  /** What is read now, from where it differs from the last reading on. */
  #next: Transcript<T> | undefined;
  /** Messages of the last reading that were met again, or are gone. */
  #visited = 0;

  constructor(decode: Decode<T>) {
    this.#decode = decode;
  }

  /** Begins a reading; one that was left unfinished is forgotten. */
  begin(): void {
    this.#next = undefined;
    this.#visited = 0;
  }

  /** Takes the next message of the dump. */
  visit(view: DataView, start: number, end: number): void {
    const message = new Uint8Array(view.buffer, view.byteOffset + start, end - start);
    if (this.#next === undefined && this.#last.holds(this.#visited, message)) {
      this.#visited++;
      return;
    }
    this.#next ??= this.#last.upTo(this.#visited);
    // One that is gone is passed over; one that came stands between.
    const at = [this.#visited, this.#visited + 1].find((index) => this.#last.holds(index, message));
    if (at === undefined) this.#next.add(message, this.#decode(view, start, end));
    else {
      this.#next.add(message, this.#last.at(at));
      this.#visited = at + 1;
    }
  }

  /** Ends the reading. @returns all that was of interest; the same array as the last time where nothing differs */
  end(): readonly T[] {
    if (this.#next === undefined && this.#visited < this.#last.length)
      this.#next ??= this.#last.upTo(this.#visited);
    this.#last = this.#next ?? this.#last;
    this.begin();
    return this.#last.values;
  }
}

/** Messages one after the other, each with what it was decoded to. */
class Transcript<T> {
  #bytes = Buffer.alloc(0);
  #ends: number[] = [];
  #decoded: (T | undefined)[] = [];
  #values: readonly T[] | undefined;

  /** In messages. */
  get length(): number {
    return this.#ends.length;
  }

  /** What is of interest; made once. */
  get values(): readonly T[] {
    this.#values ??= this.#decoded.filter((value) => value !== undefined);
    return this.#values;
  }

  /** What the message at `index` was decoded to. */
  at(index: number): T | undefined {
    return this.#decoded[index];
  }

  /** True where the message at `index` was just that. */
  holds(index: number, message: Uint8Array): boolean {
    const end = this.#ends[index];
    return (
      end !== undefined && this.#bytes.compare(message, 0, message.length, this.#startOf(index), end) === 0
    );
  }

  add(message: Uint8Array, decoded: T | undefined): void {
    const start = this.#startOf(this.#ends.length);
    const end = start + message.length;
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(2 * end);
      this.#bytes.copy(larger, 0, 0, start);
      this.#bytes = larger;
    }
    this.#bytes.set(message, start);
    this.#ends.push(end);
    this.#decoded.push(decoded);
    this.#values = undefined;
  }

  /** One of its own of the first `count` messages. */
  upTo(count: number): Transcript<T> {
    const beginning = new Transcript<T>();
    beginning.#bytes = Buffer.from(this.#bytes.subarray(0, this.#startOf(count)));
    beginning.#ends = this.#ends.slice(0, count);
    beginning.#decoded = this.#decoded.slice(0, count);
    return beginning;
  }

  #startOf(index: number): number {
    return this.#ends[index - 1] ?? 0;
  }
}
