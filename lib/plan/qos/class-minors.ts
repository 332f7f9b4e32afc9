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

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}
