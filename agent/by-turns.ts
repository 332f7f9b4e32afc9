/** Long computations that can be interrupted: written as generators that yield where the event loop may have its turn. */
import { setImmediate as nextTurn } from "node:timers/promises";

/** Yields between its parts. */
export type InParts<T> = Generator<undefined, T, undefined>;

/** Goes through all parts without a pause. */
export function atOnce<T>(parts: InParts<T>): T {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}

/** Lets the event loop have a turn after each part. */
export async function byTurns<T>(parts: InParts<T>): Promise<T> {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
    await nextTurn();
  }
}
