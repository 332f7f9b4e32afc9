/**
 * Counts accesses to values, and how many of them happen in one turn of the event loop. Measures long computations
 * without a clock.
 */
export class WorkMeter {
  #looks = 0;
  #before = 0;
  #timer: NodeJS.Immediate | undefined;
  /** The maximum in one turn since the last {@link reset}. */
  most = 0;
  turns = 0;

  start(): void {
    this.#timer = setImmediate(this.#turn);
  }

  stop(): void {
    clearImmediate(this.#timer);
  }

  reset(): void {
    [this.most, this.turns] = [0, 0];
    this.#before = this.#looks;
  }

  /** The same map. Every read of it is counted. */
  map<K, V>(map: ReadonlyMap<K, V>): ReadonlyMap<K, V> {
    return new CountedMap(map, () => {
      this.#looks++;
    });
  }

  /** The same list. Every read of it is counted. */
  list<T extends object>(list: readonly T[]): readonly T[] {
    return new Proxy(list, {
      get: (target, key, receiver) => {
        if (typeof key === "string" && /^[0-9]/.test(key)) this.#looks++;
        return Reflect.get(target, key, receiver);
      },
    });
  }

  readonly #turn = (): void => {
    this.turns++;
    this.most = Math.max(this.most, this.#looks - this.#before);
    this.#before = this.#looks;
    this.#timer = setImmediate(this.#turn);
  };
}

class CountedMap<K, V> implements ReadonlyMap<K, V> {
  readonly #map: ReadonlyMap<K, V>;
  readonly #look: () => void;

  constructor(map: ReadonlyMap<K, V>, look: () => void) {
    this.#map = map;
    this.#look = look;
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    this.#look();
    return this.#map.get(key);
  }

  has(key: K): boolean {
    this.#look();
    return this.#map.has(key);
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) visit(value, key, this);
  }

  *entries(): MapIterator<[K, V]> {
    for (const entry of this.#map) {
      this.#look();
      yield entry;
    }
    return undefined;
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
    return undefined;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
    return undefined;
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }
}
