/** Long computations that can be interrupted: written as generators that yield where others may have their turn. */

/** Yields between its parts. */
export type Chunked<T> = Generator<undefined, T, undefined>;

/** Goes through all parts without a pause. */
export function runSync<T>(parts: Chunked<T>): T {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}
