/**
 * What the guard knows of objects: the addresses that are translated, which are the ones to guard. A pod without an object
 * keeps its asymmetric paths, whose packets conntrack may call INVALID.
 */
import { type Chunked, everyNth, forEachChunked, runSync } from "../chunked.ts";
import { addressOf, type Ip, prefixLengthOf } from "../model/ip.ts";
import { type Program, ruledEips } from "../model/program.ts";
import { concatText } from "../nftables/maps.ts";
import {
  type ByGuardSet,
  byGuardSet,
  type GuardElements,
  type GuardSet,
  guardSetNames,
} from "../nftables/sets.ts";

type Keys = ByGuardSet<readonly string[]>;

/** What is to be put in, and what is to be taken out. */
export interface GuardDifference {
  readonly add: Keys;
  readonly remove: Keys;
}

/** The elements that a program asks for. */
export function wantedGuard(program: Program): GuardElements {
  return runSync(wantedGuardChunked(program));
}

/** The same in parts. */
export function* wantedGuardChunked(program: Program): Chunked<GuardElements> {
  const wanted = byGuardSet(() => new Map<string, string>());
  for (const set of guardSetNames)
    yield* guardVisitors[set](program, (address, rest) => wanted[set].set(`${address}${rest}`, ""));
  return wanted;
}

export function compareGuard(wanted: GuardElements, observed: GuardElements): GuardDifference {
  return runSync(compareGuardChunked(wanted, observed));
}

/** Takes a few milliseconds. */
const visitedAtOnce = 4_000;

/** The same in parts. */
export function* compareGuardChunked(
  wanted: GuardElements,
  observed: GuardElements,
): Chunked<GuardDifference> {
  const add = byGuardSet((): string[] => []);
  const remove = byGuardSet((): string[] => []);
  const isDue = everyNth(visitedAtOnce);
  for (const [into, all, but] of [
    [add, wanted, observed],
    [remove, observed, wanted],
  ] as const) {
    if (all === but) continue;
    for (const set of guardSetNames)
      for (const key of all[set].keys()) {
        if (isDue()) yield;
        if (!but[set].has(key)) into[set].push(key);
      }
  }
  return { add, remove };
}

/** What of a difference is left to do where the kernel has these elements. */
export function outstandingGuard(
  { add, remove }: GuardDifference,
  has: (set: GuardSet, key: string) => boolean,
): GuardDifference {
  return {
    add: byGuardSet((set) => add[set].filter((key) => !has(set, key))),
    remove: byGuardSet((set) => remove[set].filter((key) => has(set, key))),
  };
}

export function isNoDifference({ add, remove }: Partial<GuardDifference>): boolean {
  return guardSetNames.every((set) => (add?.[set].length ?? 0) + (remove?.[set].length ?? 0) === 0);
}

/** True for packets from the VPC that the guard drops if conntrack calls them INVALID. */
export function isGuardedSource(
  { fips, dnats, pools, family }: Program,
  source: Ip,
  protocol: string,
  port: number | undefined,
): boolean {
  return (
    fips.some(({ internalIp }) => internalIp === source) ||
    dnats.some(
      (dnat) =>
        dnat.protocol === protocol && dnat.backends.some((one) => one.ip === source && one.port === port),
    ) ||
    pools.some(({ cidr }) => family.contains(cidr, source))
  );
}

/** Called for each use of an element: its text is the address and the rest, such as ` . tcp . 80`. */
type Visit = (address: string, rest: string) => void;

/** The uses of each set's elements. */
export const guardVisitors: ByGuardSet<(program: Program, visit: Visit) => Chunked<void>> = {
  fips: ({ fips }, visit) => forEachChunked(fips, visitedAtOnce, ({ internalIp }) => visit(internalIp, "")),
  *backends({ dnats }, visit) {
    const isDue = everyNth(visitedAtOnce);
    for (const { protocol, backends } of dnats) {
      let [rest, restPort] = ["", 0];
      for (const { ip, port } of backends) {
        if (isDue()) yield;
        if (port !== restPort) [rest, restPort] = [concatText("", protocol, port), port];
        visit(ip, rest);
      }
    }
  },
  clients: ({ pools, family: { format, netmask } }, visit) =>
    forEachChunked(pools, visitedAtOnce, ({ cidr }) =>
      visit(addressOf(cidr), concatText("", format(netmask(prefixLengthOf(cidr))))),
    ),
  eips: (program, visit) =>
    forEachChunked(ruledEips(program), visitedAtOnce, ({ address }) => visit(address, "")),
};

/**
 * The addresses that rules have as EIP, and those that the guard still has: it forgets an address only after the kernel has.
 * `named` itself if the guard has no other.
 */
export function* withGuardedChunked(
  named: ReadonlySet<Ip>,
  eips: GuardElements["eips"],
  parse: (text: string) => Ip | undefined,
): Chunked<ReadonlySet<Ip>> {
  const others = new Set<Ip>();
  const isDue = everyNth(visitedAtOnce);
  for (const text of eips.keys()) {
    if (isDue()) yield;
    const eip = parse(text);
    if (eip !== undefined && !named.has(eip)) others.add(eip);
  }
  return others.size === 0 ? named : named.union(others);
}
