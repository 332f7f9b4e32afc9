/**
 * Leases: an Eip with `leaseSeconds` stays in the kernel only while it is renewed in time, by a write that contains it
 * or by a renewal. The state records the time of the last one; a leased Eip always has such a record.
 */
import type { ObjectName } from "../model/names.ts";
import type { Instant, State } from "../state/state.ts";

/** The Eips whose lease has expired at `now`. They stay stored. A write that contains them revives them. */
export function expiredLeases(state: State, now: Instant): ReadonlySet<ObjectName> {
  const expired = new Set<ObjectName>();
  for (const [name, ms] of remaining(state, now)) if (ms <= 0) expired.add(name);
  return expired;
}

/** Whether the Eip is stored with a lease that has expired at `now`. */
export function isLeaseExpired(state: State, name: ObjectName, now: Instant): boolean {
  const renewed = state.leases.get(name);
  return renewed !== undefined && (remainingMs(state, name, renewed, now) ?? 1) <= 0;
}

/**
 * Milliseconds from `now` until a lease expires that is not among `known`; 0 if one has. `undefined` if none will.
 *
 * @param known the expired leases that were taken into account
 */
export function nextExpiryMs(state: State, now: Instant, known: ReadonlySet<ObjectName>): number | undefined {
  let next: number | undefined;
  for (const [name, ms] of remaining(state, now))
    if ((ms > 0 || !known.has(name)) && (next === undefined || ms < next)) next = Math.max(0, ms);
  return next;
}

/**
 * Milliseconds from `earlier` to `later`. Within one boot it uses the boot clock, which nobody can set. Across boots it
 * uses the wall clock. After a boot without battery or time server that clock may be behind, but at least the uptime
 * has passed.
 */
export function elapsedMs(earlier: Instant, later: Instant): number {
  return earlier.bootId === later.bootId
    ? later.bootMs - earlier.bootMs
    : Math.max(later.wallMs - earlier.wallMs, later.bootMs);
}

function* remaining(state: State, now: Instant): Generator<readonly [ObjectName, number]> {
  for (const [name, renewed] of state.leases) {
    const ms = remainingMs(state, name, renewed, now);
    if (ms !== undefined) yield [name, ms];
  }
}

function remainingMs(state: State, name: ObjectName, renewed: Instant, now: Instant): number | undefined {
  const leaseSeconds = state.desired.eips.get(name)?.spec.leaseSeconds;
  return leaseSeconds === undefined ? undefined : leaseSeconds * 1000 - elapsedMs(renewed, now);
}
