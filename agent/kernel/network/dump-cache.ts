/**
 * Decodes the messages of a dump, all of one type. If a message is byte for byte the same as in the last dump, returns
 * the same value again. So ten thousand unchanged addresses are neither decoded nor planned again.
 */

/** Decodes a message; its payload is `view` from `start` to `end`. `undefined` if the message is not relevant. */
export type Decode<T> = (view: DataView, start: number, end: number) => T | undefined;

export class DumpCache<T> {
  readonly #decode: Decode<T>;
  #last = new Transcript<T>();
  /** The current reading, from the first difference to the last one on. */
  #next: Transcript<T> | undefined;
  /** The number of messages of the last reading that were found again or are gone. */
  #visited = 0;

  constructor(decode: Decode<T>) {
    this.#decode = decode;
  }

  /** Begins a reading. Discards an unfinished one. */
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
    // A removed message is skipped; a new one is inserted in between.
    const at = [this.#visited, this.#visited + 1].find((index) => this.#last.holds(index, message));
    if (at === undefined) this.#next.add(message, this.#decode(view, start, end));
    else {
      this.#next.add(message, this.#last.at(at));
      this.#visited = at + 1;
    }
  }

  /**
   * Ends the reading.
   * @returns all relevant values; the same array as last time if nothing changed
   */
  end(): readonly T[] {
    if (this.#next === undefined && this.#visited < this.#last.length)
      this.#next ??= this.#last.upTo(this.#visited);
    this.#last = this.#next ?? this.#last;
    this.begin();
    return this.#last.values;
  }
}

/** A sequence of messages with their decoded values. */
class Transcript<T> {
  #bytes = Buffer.alloc(0);
  #ends: number[] = [];
  #decoded: (T | undefined)[] = [];
  #values: readonly T[] | undefined;

  /** Number of messages. */
  get length(): number {
    return this.#ends.length;
  }

  /** The relevant values. Computed once. */
  get values(): readonly T[] {
    this.#values ??= this.#decoded.filter((value) => value !== undefined);
    return this.#values;
  }

  /** The decoded value of the message at `index`. */
  at(index: number): T | undefined {
    return this.#decoded[index];
  }

  /** True if the message at `index` has exactly these bytes. */
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

  /** A separate copy of the first `count` messages. */
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
