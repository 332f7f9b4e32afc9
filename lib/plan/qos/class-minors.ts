/**
 * The minor numbers of classes follow from what the classes are for, so a restarted agent finds the same ones without
 * any record: a hash, and the next free number after it if an elder class has it.
 */

/** The class of the whole device. */
export const deviceMinor = 1;
const firstMinor = 0x10;
const lastMinor = 0xffef;
const count = lastMinor - firstMinor + 1;

/** @param keys one for each class, the elder first; at most about 65,000 */
export function minorsOf(keys: readonly string[]): ReadonlyMap<string, number> {
  const minors = new Map<string, number>();
  const taken = new Set<number>();
  for (const key of keys) {
    let offset = hash(key) % count;
    while (taken.has(offset)) offset = (offset + 1) % count;
    taken.add(offset);
    minors.set(key, firstMinor + offset);
  }
  return minors;
}

/** A class that exists, and what it is for. */
export interface Numbered {
  readonly key: string;
  readonly minor: number;
}

/**
 * An order in which {@link minorsOf} gives the classes the numbers that they have: whoever has the number that another one
 * would have had is the elder. Otherwise the order stays.
 */
export function elderFirst<T extends Numbered>(classes: readonly T[]): readonly T[] {
  const holders = new Map(classes.map((one) => [one.minor, one]));
  const ordered = new Set<T>();
  const add = (one: T) => {
    const waiting = [one];
    // Numbers that are taken are in a row, so this looks at each of them once for every class behind it.
    for (let last = waiting.at(-1); last !== undefined; last = waiting.at(-1)) {
      const elder = ordered.has(last) ? undefined : elderThan(last, holders, ordered);
      if (elder !== undefined && waiting.length <= classes.length) waiting.push(elder);
      else {
        ordered.add(last);
        waiting.pop();
      }
    }
  };
  for (const one of classes) add(one);
  return [...ordered];
}

function elderThan<T extends Numbered>(
  { key, minor }: T,
  holders: ReadonlyMap<number, T>,
  ordered: ReadonlySet<T>,
): T | undefined {
  if (minor < firstMinor || minor > lastMinor) return undefined;
  for (let offset = hash(key) % count; offset !== minor - firstMinor; offset = (offset + 1) % count) {
    // Nobody: it is the number of a class that is no limit's, which is always elder.
    const holder = holders.get(firstMinor + offset);
    if (holder !== undefined && !ordered.has(holder)) return holder;
  }
  return undefined;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}
