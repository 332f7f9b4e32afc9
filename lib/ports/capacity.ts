/** How many ports SNAT has, and when they are used up. */

/**
 * Ports of one EIP towards one destination. SNAT without a port range (with or without `--random-fully`) takes one of
 * 1024 to 65535 if the client's port is 1024 or more (nf_nat_l4proto_unique_tuple() of Linux). Clients with a lower port
 * get one of the lower ports, which are few and not counted apart.
 */
export const portCapacity = 65_535 - 1_024 + 1;

/** Above this share new connections begin to fail: the kernel gives up after some tries for a free port. */
export const fullShare = 0.8;

/** Above this share about a third of new UDP connections fails (measured on Linux 6.18: 31 % at 0.97). */
export const exhaustedShare = 0.97;

export interface PortUse {
  readonly live: number;
  readonly closing: number;
}

export interface PortForecast {
  /** Of the capacity, closing ports left out: the kernel takes them when it needs them. */
  readonly ratio: number;
  /** Growth of live and closing ports since the previous scan, at least 0. `undefined` after the first scan. */
  readonly newPerSecond: number | undefined;
  /** Until 80 % and all ports are in use, as live ports grew lately. `undefined` if they do not grow or nobody knows. */
  readonly secondsTo80: number | undefined;
  readonly secondsToFull: number | undefined;
  /** As many more EIPs that clients are divided among keep the destination at 80 % or less. */
  readonly additionalEipsNeeded: number;
}

/** @param before the same destination `seconds` ago. `undefined` if nobody looked */
export function forecast(
  now: PortUse,
  before: PortUse | undefined,
  seconds: number,
  capacity = portCapacity,
): PortForecast {
  const isKnown = before !== undefined && seconds > 0;
  const growth = isKnown ? (now.live - before.live) / seconds : undefined;
  const all = isKnown ? (now.live + now.closing - before.live - before.closing) / seconds : undefined;
  return {
    ratio: now.live / capacity,
    newPerSecond: all === undefined ? undefined : Math.max(0, all),
    secondsTo80: secondsUntil(now.live, fullShare * capacity, growth),
    secondsToFull: secondsUntil(now.live, capacity, growth),
    additionalEipsNeeded: additionalEipsNeeded(now.live, capacity),
  };
}

/** See {@link PortForecast.additionalEipsNeeded}. */
export function additionalEipsNeeded(live: number, capacity = portCapacity): number {
  return Math.max(0, Math.ceil(live / (fullShare * capacity)) - 1);
}

function secondsUntil(live: number, goal: number, growth: number | undefined): number | undefined {
  if (live >= goal) return 0;
  return growth === undefined || growth <= 0 ? undefined : (goal - live) / growth;
}
