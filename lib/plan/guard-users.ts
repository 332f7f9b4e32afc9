/** Which elements of the guard's sets have users: several objects can share one, so a change of one of them may leave it in use. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { Ip } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import type { Program, ProgramDnat } from "../model/program.ts";
import { byGuardSet, type GuardSet, guardSetNames } from "../nftables/sets.ts";
import { type GuardDifference, guardVisitors, wantedGuard } from "./guard.ts";

/** What the change of a part means for the guard. */
export interface GuardPart {
  /** What the part needs, whether it is new or not, and what no object of the program uses any more. */
  readonly difference: GuardDifference;
  /** The addresses of its new EIPs that an object translates to. */
  readonly internal: ReadonlySet<Ip>;
}

/** The users of elements in a program that changes part by part. */
export class GuardUsers {
  readonly #program: Program;
  readonly #maxCounted: number;
  /** Those of the whole program, as far as they were counted. */
  readonly #counted = new Map<GuardSet, Counts>();
  /** How many more users an element has than in the program. */
  readonly #since = byGuardSet(() => new Counts());

  /**
   * @param maxCounted up to so many backends are counted, once. Among more, a change looks for those that it is about:
   * counting all takes longer
   */
  constructor(program: Program, maxCounted = 20_000) {
    this.#program = program;
    this.#maxCounted = maxCounted;
  }

  /**
   * A part of the program has changed. Backends of DNATs that are the same in both are not looked at.
   * @returns what that means for the guard, to be found in parts
   */
  update(from: Program, to: Program): Chunked<GuardPart> {
    const [before, after] = withoutSameDnats(from, to);
    for (const set of guardSetNames) {
      runSync(countUses(before, set, this.#since[set], -1));
      runSync(countUses(after, set, this.#since[set], 1));
    }
    return this.#find(before, after);
  }

  *#find(from: Program, to: Program): Chunked<GuardPart> {
    const [were, are] = [wantedGuard(from), wantedGuard(to)];
    const left = byGuardSet((set) => [...were[set].keys()].filter((key) => !are[set].has(key)));
    const held = new Set(from.eips.map(({ address }) => address));
    const added = to.eips.map(({ address }) => address).filter((address) => !held.has(address));
    const uses: { [K in GuardSet]: Counts } = byGuardSet(() => new Counts());
    for (const set of guardSetNames) {
      const asked = new Set<string>(left[set].map((key) => partsOf(key)[0]));
      if (internalSets.includes(set)) for (const address of added) asked.add(address);
      if (asked.size > 0) uses[set] = yield* this.#usesOf(set, asked);
    }
    const isUsed = (set: GuardSet, address: string, rest: string) =>
      uses[set].at(address, rest) + this.#since[set].at(address, rest) > 0;
    const isInternal = (address: Ip) =>
      internalSets.some((set) =>
        [uses[set], this.#since[set]].some((counts) =>
          counts.restsOf(address).some((rest) => isUsed(set, address, rest)),
        ),
      );
    const internal = new Set<Ip>();
    const isDue = everyNth(addressesAtOnce);
    for (const address of added) {
      if (isDue()) yield;
      if (isInternal(address)) internal.add(address);
    }
    return {
      difference: {
        add: byGuardSet((set) => [...are[set].keys()]),
        remove: byGuardSet((set) => left[set].filter((key) => !isUsed(set, ...partsOf(key)))),
      },
      internal,
    };
  }

  /** In the whole program: of all elements, or at least of those with these addresses. */
  *#usesOf(set: GuardSet, asked: ReadonlySet<string>): Chunked<Counts> {
    const known = this.#counted.get(set);
    if (known !== undefined) return known;
    const counts = new Counts();
    const areMany = set === "backends" && countBackends(this.#program) > this.#maxCounted;
    yield* countUses(this.#program, set, counts, 1, areMany ? asked : undefined);
    if (!areMany) this.#counted.set(set, counts);
    return counts;
  }
}

/** Both without the DNATs that have the same backends in both: a part has all DNATs of an EIP, and few of them changed. */
function withoutSameDnats(from: Program, to: Program): readonly [from: Program, to: Program] {
  const others = new Map(to.dnats.map((dnat) => [dnat.id, dnat]));
  const same = new Set<ObjectId>();
  for (const dnat of from.dnats) if (hasSameBackends(dnat, others.get(dnat.id))) same.add(dnat.id);
  const changedOf = (program: Program) => ({
    ...program,
    dnats: program.dnats.filter(({ id }) => !same.has(id)),
  });
  return [changedOf(from), changedOf(to)];
}

function hasSameBackends(one: ProgramDnat, other: ProgramDnat | undefined): boolean {
  return (
    one.protocol === other?.protocol &&
    one.backends.length === other.backends.length &&
    one.backends.every(({ ip, port }, at) => {
      const { [at]: same } = other.backends;
      return same?.ip === ip && same.port === port;
    })
  );
}

/** Each is looked for once for each protocol and port of backends. */
const addressesAtOnce = 16;

function countBackends({ dnats }: Program): number {
  return dnats.reduce((sum, { backends }) => sum + backends.length, 0);
}

/** The sets whose addresses objects translate to. */
const internalSets: readonly GuardSet[] = ["fips", "backends"];

/** How often elements are used. What comes to nothing is not kept. */
class Counts {
  /** By what follows the address, which many share, then by address: no text is made for an element. */
  readonly #counts = new Map<string, Map<string, number>>();

  add(address: string, rest: string, by: number): void {
    const counts = this.#counts.get(rest) ?? new Map<string, number>();
    if (counts.size === 0) this.#counts.set(rest, counts);
    const count = (counts.get(address) ?? 0) + by;
    if (count !== 0) counts.set(address, count);
    else if (counts.delete(address) && counts.size === 0) this.#counts.delete(rest);
  }

  at(address: string, rest: string): number {
    return this.#counts.get(rest)?.get(address) ?? 0;
  }

  /** What follows the address in elements that are counted. */
  restsOf(address: string): readonly string[] {
    return [...this.#counts.keys()].filter((rest) => this.#counts.get(rest)?.has(address));
  }
}

/** @param asked counts only elements with these addresses */
function countUses(
  program: Program,
  set: GuardSet,
  into: Counts,
  by: number,
  asked?: ReadonlySet<string>,
): Chunked<void> {
  return guardVisitors[set](program, (address, rest) => {
    if (asked?.has(address) ?? true) into.add(address, rest, by);
  });
}

function partsOf(key: string): [address: string, rest: string] {
  const [address = key] = key.split(" ", 1);
  return [address, key.slice(address.length)];
}
