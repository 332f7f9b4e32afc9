/** The event loop has a turn between the parts of a long computation. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Chunked } from "../lib/chunked.ts";

/** Lets the event loop have a turn after each part. */
export async function runYielding<T>(parts: Chunked<T>): Promise<T> {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
    await nextTurn();
  }
}
