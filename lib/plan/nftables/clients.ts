/** Computes which clients a pool serves without its nested networks: interval maps have no longest-prefix match. */
import { type Chunked, everyNth, mapChunked, runSync, sortChunked } from "../../chunked.ts";
import { type AddressValue, compareValues, type Family } from "../../model/family.ts";
import { prefixLengthOf } from "../../model/ip.ts";
import type { SnatPool } from "../../model/program.ts";

/** Addresses that one pool serves, both ends included. */
export interface ClientRange {
  readonly first: AddressValue;
  readonly last: AddressValue;
  readonly pool: SnatPool;
}

/**
 * Splits the networks of pools with one outgoing interface into ranges that do not overlap. Each address belongs to the
 * longest prefix that contains it. n networks give at most 2n − 1 ranges, in order of address.
 */
export function flatten(...given: Parameters<typeof flattenChunked>): readonly ClientRange[] {
  return runSync(flattenChunked(...given));
}

/** Takes a few milliseconds. */
const flattenedAtOnce = 3_000;

/** The same in parts. */
export function* flattenChunked(pools: readonly SnatPool[], family: Family): Chunked<readonly ClientRange[]> {
  const ranges: ClientRange[] = [];
  /**
   * The networks that contain the current address, innermost last. They nest, because two networks never overlap
   * partly.
   */
  const around: ClientRange[] = [];
  let next = family.zero;
  const fillUpTo = (last: AddressValue, pool: SnatPool) => {
    if (next <= last) ranges.push({ first: next, last, pool });
    next = family.plus(last, 1);
  };
  const leave = (isLeft: (inner: ClientRange) => boolean) => {
    for (let inner = around.at(-1); inner !== undefined && isLeft(inner); inner = around.at(-1)) {
      fillUpTo(inner.last, inner.pool);
      around.pop();
    }
  };
  const isDue = everyNth(flattenedAtOnce);
  for (const network of yield* outermostFirst(pools, family)) {
    if (isDue()) yield;
    leave(({ last }) => last < network.first);
    const outer = around.at(-1);
    if (outer !== undefined) fillUpTo(family.plus(network.first, -1), outer.pool);
    next = network.first;
    around.push(network);
  }
  leave(() => true);
  return ranges;
}

function* outermostFirst(pools: readonly SnatPool[], family: Family): Chunked<readonly ClientRange[]> {
  const networks = yield* mapChunked(pools, flattenedAtOnce, (pool): ClientRange => {
    const [first, last] = family.rangeOf(pool.cidr);
    return { first, last, pool };
  });
  return yield* sortChunked(
    networks,
    (one, other) =>
      compareValues(one.first, other.first) ||
      prefixLengthOf(one.pool.cidr) - prefixLengthOf(other.pool.cidr),
  );
}
