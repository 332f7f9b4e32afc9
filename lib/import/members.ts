/** Which SNATs make the buckets of a pool: the inverse of `bucketsOf` in lib/model/program.ts. */
import type { Member } from "./read-rules.ts";

/** The first members of a pool, from the member of each bucket. Buckets that nobody sees are absent. */
export type SeenBuckets = ReadonlyMap<number, Member>;

/**
 * The shortest list of members, each with an EIP of its own, that gives every seen bucket b to member b mod n.
 * @param count the number of buckets
 * @returns `undefined` if there is none
 */
export function membersOf(seen: SeenBuckets, count: number): readonly [Member, ...Member[]] | undefined {
  for (let n = 1; n <= count; n++) {
    // Member n - 1 is only known by its first bucket, or by a later one.
    const members = cycleOf(seen, n);
    if (members !== undefined) return members;
  }
  return undefined;
}

export function isSameMember(one: Member | undefined, other: Member | undefined): boolean {
  return one !== undefined && one.eip === other?.eip && one.mapping === other.mapping;
}

function cycleOf(seen: SeenBuckets, n: number): readonly [Member, ...Member[]] | undefined {
  const members: Member[] = [];
  const eips = new Set<Member["eip"]>();
  let known = 0;
  for (const [bucket, member] of seen) {
    const at = bucket % n;
    const before = members[at];
    if (before === undefined) {
      if (eips.has(member.eip)) return undefined;
      eips.add(member.eip);
      members[at] = member;
      known++;
    } else if (!isSameMember(before, member)) return undefined;
  }
  const [first, ...rest] = members;
  return known === n && first !== undefined ? [first, ...rest] : undefined;
}
