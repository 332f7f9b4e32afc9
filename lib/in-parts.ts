/** Long computations that can be interrupted: written as generators that yield where others may have their turn. */

/** Yields between its parts. */
export type InParts<T> = Generator<undefined, T, undefined>;

/** Goes through all parts without a pause. */
export function atOnce<T>(parts: InParts<T>): T {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}
