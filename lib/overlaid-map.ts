/**
 * An immutable map made of another one and some changes to it. The other one is not copied, so that the first change of a large
 * map costs no more than the next; it must not change any more. Many changes make a map of their own:
 * see {@link OrderedMap}.
 */
export class OverlaidMap<K, V> implements ReadonlyMap<K, V> {
  readonly base: ReadonlyMap<K, V>;
  /** `undefined`: the key is not there any more. */
  readonly changes: ReadonlyMap<K, V | undefined>;
  readonly size: number;

  /** @param base anything but an overlaid map, whose lookups would take a step more with each change */
  constructor(base: ReadonlyMap<K, V>, changes: ReadonlyMap<K, V | undefined>) {
    this.base = base;
    this.changes = changes;
    let { size } = base;
    for (const [key, value] of changes) size += Number(value !== undefined) - Number(base.has(key));
    this.size = size;
  }

  get(key: K): V | undefined {
    return this.changes.has(key) ? this.changes.get(key) : this.base.get(key);
  }

  has(key: K): boolean {
    return this.changes.has(key) ? this.changes.get(key) !== undefined : this.base.has(key);
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) visit(value, key, this);
  }

  /** What is as it was, then what changed. */
  *keys(): Generator<K, undefined> {
    for (const key of this.base.keys()) if (!this.changes.has(key)) yield key;
    for (const [key, value] of this.changes) if (value !== undefined) yield key;
    return undefined;
  }

  *entries(): Generator<[K, V], undefined> {
    for (const entry of this.base) if (!this.changes.has(entry[0])) yield entry;
    for (const [key, value] of this.changes) if (value !== undefined) yield [key, value];
    return undefined;
  }

  values(): IteratorObject<V, undefined> {
    return this.entries().map(([, value]) => value);
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }
}
