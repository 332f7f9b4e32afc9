/** Which clients a pool serves once nested networks are taken out of it: maps of intervals know no longest prefix. */
import { prefixLengthOf } from "../../model/ip.ts";
import { rangeOf } from "../../model/ipv4.ts";
import type { SnatPool } from "../../model/program.ts";

/** Addresses, both ends included, that one pool serves. */
export interface ClientRange {
  readonly first: number;
  readonly last: number;
  readonly pool: SnatPool;
}

/**
 * Cuts the networks of pools that leave by one interface into ranges of which no two overlap; each address belongs to
 * the longest prefix that holds it. n networks give at most 2n − 1 ranges, in order of address.
 */
export function flatten(pools: readonly SnatPool[]): readonly ClientRange[] {
  const ranges: ClientRange[] = [];
  /** The networks around the current address, the innermost last; they nest, since networks never cross. */
  const around: ClientRange[] = [];
  let next = 0;
  const fillUpTo = (last: number, pool: SnatPool) => {
    if (next <= last) ranges.push({ first: next, last, pool });
    next = last + 1;
  };
  const leaveBefore = (address: number) => {
    for (let inner = around.at(-1); inner !== undefined && inner.last < address; inner = around.at(-1)) {
      fillUpTo(inner.last, inner.pool);
      around.pop();
    }
  };
  for (const network of outermostFirst(pools)) {
    leaveBefore(network.first);
    const outer = around.at(-1);
    if (outer !== undefined) fillUpTo(network.first - 1, outer.pool);
    next = network.first;
    around.push(network);
  }
  leaveBefore(Number.POSITIVE_INFINITY);
  return ranges;
}

function outermostFirst(pools: readonly SnatPool[]): readonly ClientRange[] {
  const networks = pools.map((pool): ClientRange => {
    const [first, last] = rangeOf(pool.cidr);
    return { first, last, pool };
  });
  return networks.sort(
    (one, other) =>
      one.first - other.first || prefixLengthOf(one.pool.cidr) - prefixLengthOf(other.pool.cidr),
  );
}
