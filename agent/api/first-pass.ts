/** Writes to an unset store wait for the first pass. */
import { setTimeout as delay } from "node:timers/promises";
import type { RouteContext } from "./deps.ts";

/** How long a write waits. */
const firstPassMs = 10_000;

/**
 * Before the first pass nobody knows whether an unset store is a new one, or a lost one whose objects the kernel still holds: a
 * single write would make it a set without them. True once a pass has found it; false if none has in time.
 */
export async function isAdoptionDecided({
  state,
  reconciler,
  stopping,
}: Pick<RouteContext, "state" | "reconciler" | "stopping">): Promise<boolean> {
  if (state.current.isSet) return true;
  const waiting = new AbortController();
  const signal = AbortSignal.any([waiting.signal, stopping]);
  const timeout = delay(firstPassMs, false, { signal }).catch(() => false);
  const isDecided = await Promise.race([reconciler.firstPass.then(() => true), timeout]);
  waiting.abort();
  return isDecided;
}
