/** Runs long computations without blocking the event loop. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Chunked } from "../lib/chunked.ts";

/** Lets the event loop run after each part. */
export async function runYielding<T>(parts: Chunked<T>): Promise<T> {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
    await nextTurn();
  }
}
