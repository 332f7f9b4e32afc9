/**
 * The guard's elements: planning the change of a part gives what the whole program needs, whichever objects share
 * elements.
 */
import fc from "fast-check";
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import type { Program } from "../../../../lib/model/program.ts";
import { concatText } from "../../../../lib/nftables/maps.ts";
import { type GuardElements, guardSetNames } from "../../../../lib/nftables/sets.ts";
import {
  compareGuard,
  type GuardDifference,
  isGuardedSource,
  outstandingGuard,
  wantedGuard,
} from "../../../../lib/plan/guard.ts";
import { GuardUsers } from "../../../../lib/plan/guard-users.ts";
import { program } from "./iptables/programs.ts";

const joined = (one: Program, other: Program): Program => ({
  ...one,
  fips: [...one.fips, ...other.fips],
  dnats: [...one.dnats, ...other.dnats],
});

/** Some FIPs and DNATs, as an incremental pass takes them. */
const part = program.map((one): Program => ({ ...one, eips: [], pools: [] }));

function apply(before: GuardElements, { add, remove }: GuardDifference): readonly string[] {
  return guardSetNames.flatMap((set) => {
    const elements = new Set(before[set].keys());
    for (const key of remove[set]) if (!elements.delete(key)) throw new Error(`${key} was not there`);
    for (const key of add[set]) {
      if (elements.has(key)) throw new Error(`${key} was there`);
      elements.add(key);
    }
    return [...elements].map((key) => `${set} ${key}`);
  });
}

const textsOf = (elements: GuardElements) =>
  guardSetNames.flatMap((set) => [...elements[set].keys()].map((key) => `${set} ${key}`));

t.test("planned part by part, the guard is the same as planned as a whole", async () => {
  fc.assert(
    fc.property(
      program,
      fc.array(part, { minLength: 2, maxLength: 4 }),
      fc.boolean(),
      (rest, parts, isCounted) => {
        const [first = rest, ...others] = parts;
        const users = new GuardUsers(joined(rest, first), isCounted ? undefined : 0);
        let elements = wantedGuard(joined(rest, first));
        let from = first;
        for (const to of others) {
          const { difference } = runSync(users.update(from, to));
          const has = (set: keyof GuardElements, key: string) => elements[set].has(key);
          const changed = apply(elements, outstandingGuard(difference, has));
          const whole = wantedGuard(joined(rest, to));
          if (changed.toSorted().join() !== textsOf(whole).toSorted().join()) return false;
          elements = whole;
          from = to;
        }
        return true;
      },
    ),
    { numRuns: 300 },
  );
});

t.test("from any elements to those of a program; on the result there is nothing to do", async () => {
  fc.assert(
    fc.property(program, program, (one, other) => {
      const [held, wanted] = [wantedGuard(one), wantedGuard(other)];
      const texts = apply(held, compareGuard(wanted, held));
      const again = compareGuard(wanted, wantedGuard(other));
      return (
        texts.toSorted().join() === textsOf(wanted).toSorted().join() &&
        guardSetNames.every((set) => again.add[set].length + again.remove[set].length === 0)
      );
    }),
    { numRuns: 200 },
  );
});

t.test("whether a packet is guarded is what the elements say", async () => {
  fc.assert(
    fc.property(program, program, (one, other) => {
      const { fips, backends } = wantedGuard(one);
      const ends = [one, other].flatMap(({ fips, dnats }) => [
        ...fips.map(({ internalIp }) => ({ ip: internalIp, protocol: "tcp", port: 80 })),
        ...dnats.flatMap(({ protocol, backends }) => backends.map((end) => ({ ...end, protocol }))),
      ]);
      return ends.every(
        ({ ip, protocol, port }) =>
          isGuardedSource(one, ip, protocol, port) ===
          (fips.has(ip) ||
            backends.has(concatText(ip, protocol, port)) ||
            one.pools.some(({ cidr }) => one.family.contains(cidr, ip))),
      );
    }),
    { numRuns: 200 },
  );
});
