/**
 * Leases: an Eip with `leaseSeconds` stays in the kernel only while writes that contain it, or renewals, come in time.
 * Its record is the instant of the last of them; a leased Eip always has one.
 */
import type { ObjectName } from "../model/names.ts";
import type { Instant, State } from "./state.ts";

/** The Eips whose lease has run out at `now`. They stay stored; a write that contains them revives them. */
export function expiredLeases(state: State, now: Instant): ReadonlySet<ObjectName> {
  const expired = new Set<ObjectName>();
  for (const [name, remainingMs] of remaining(state, now)) if (remainingMs <= 0) expired.add(name);
  return expired;
}

/** Milliseconds from `now` until the next lease runs out; `undefined` where none will. */
export function nextExpiryMs(state: State, now: Instant): number | undefined {
  let next: number | undefined;
  for (const [, remainingMs] of remaining(state, now))
    if (remainingMs > 0 && (next === undefined || remainingMs < next)) next = remainingMs;
  return next;
}

/** Milliseconds from `earlier` to `later`: by the boot clock within a boot, which no one can set; by the wall clock across. */
export function elapsedMs(earlier: Instant, later: Instant): number {
  return earlier.bootId === later.bootId ? later.bootMs - earlier.bootMs : later.wallMs - earlier.wallMs;
}

function* remaining(state: State, now: Instant): Generator<readonly [ObjectName, number]> {
  for (const [name, renewed] of state.leases) {
    const leaseSeconds = state.desired.eips.get(name)?.spec.leaseSeconds;
    if (leaseSeconds !== undefined) yield [name, leaseSeconds * 1000 - elapsedMs(renewed, now)];
  }
}
