/**
 * An immutable map in insertion order. Replacing a value keeps the place of its key; removing and adding it again moves
 * it to the end. The cost of a change does not depend on the size of the map. A change does not modify the map it
 * starts from, and a map without changes stays the same object.
 *
 * A key gets a number when it is first seen, in a table shared by all maps derived from one another. Sharing is safe
 * because a number has no meaning by itself. One sparse array finds an entry by the number of its key, another holds
 * the entries in order. When unused numbers and places outnumber the used ones, the map is rebuilt without them.
 */
import { type Chunked, forEachChunked, runSync } from "./chunked.ts";
import { type Owner, SparseArray } from "./sparse-array.ts";

/** Unused numbers and places allowed in a small map. */
const maxUnused = 1024;

interface Entry<K, V> {
  readonly key: K;
  readonly value: V;
  /** Its place in the order. */
  readonly place: number;
}

interface Content<K, V> {
  readonly size: number;
  /** Shared between maps. Entries are only added. */
  readonly numbers: Map<K, number>;
  readonly byNumber: SparseArray<Entry<K, V>>;
  readonly byPlace: SparseArray<Entry<K, V>>;
  /** The place of the next new key. */
  readonly nextPlace: number;
}

/** Takes a few milliseconds. */
const enteredAtOnce = 2_000;

export class OrderedMap<K, V> implements ReadonlyMap<K, V> {
  readonly #content: Content<K, V>;

  private constructor(content: Content<K, V>) {
    this.#content = content;
  }

  /** A map of `entries`. Returns `entries` itself if it already is an ordered map. */
  static from<K, V>(entries: Iterable<readonly [K, V]>): OrderedMap<K, V> {
    return runSync(OrderedMap.fromChunked(entries));
  }

  /** The same in parts. */
  static *fromChunked<K, V>(entries: Iterable<readonly [K, V]>): Chunked<OrderedMap<K, V>> {
    if (entries instanceof OrderedMap) return entries;
    const draft = new OrderedMap<K, V>(emptyContent()).edit();
    yield* forEachChunked(entries, enteredAtOnce, ([key, value]) => draft.set(key, value));
    return draft.finish();
  }

  /** Starts a series of changes. Cheaper than the same number of single changes. */
  edit(): OrderedMapDraft<K, V> {
    return new OrderedMapDraft(this, this.#content, (content) => new OrderedMap(content));
  }

  /** The same object for this map and for those derived from it, until one is rebuilt. */
  get lineage(): object {
    return this.#content.numbers;
  }

  /**
   * Calls `visit` for each key with another value than in `before`; `undefined` where there is none. Costs as much as the
   * two maps differ. Both must have one {@link lineage}.
   */
  forEachChange(
    before: OrderedMap<K, V>,
    visit: (key: K, now: V | undefined, was: V | undefined) => void,
  ): void {
    this.#content.byNumber.forEachDifference(before.#content.byNumber, (now, was) => {
      const entry = now ?? was;
      if (entry !== undefined && now?.value !== was?.value) visit(entry.key, now?.value, was?.value);
    });
  }

  get size(): number {
    return this.#content.size;
  }

  get(key: K): V | undefined {
    return find(this.#content, key)?.value;
  }

  has(key: K): boolean {
    return find(this.#content, key) !== undefined;
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) visit(value, key, this);
  }

  keys(): MapIterator<K> {
    return new Selected(this.#content.byPlace.values(), ({ key }) => key);
  }

  values(): MapIterator<V> {
    return new Selected(this.#content.byPlace.values(), ({ value }) => value);
  }

  entries(): MapIterator<[K, V]> {
    return new Selected(this.#content.byPlace.values(), ({ key, value }) => [key, value]);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }
}

class Selected<K, V, T> extends Iterator<T, undefined> {
  readonly #entries: Iterator<Entry<K, V>, undefined>;
  readonly #select: (entry: Entry<K, V>) => T;

  constructor(entries: Iterator<Entry<K, V>, undefined>, select: (entry: Entry<K, V>) => T) {
    super();
    this.#entries = entries;
    this.#select = select;
  }

  override next(): IteratorResult<T, undefined> {
    const { done, value } = this.#entries.next();
    return done ? { done, value } : { done: false, value: this.#select(value) };
  }
}

/** Changes to an ordered map that nobody else sees before {@link finish}. Do not use it afterwards. */
export class OrderedMapDraft<K, V> {
  readonly #base: OrderedMap<K, V>;
  readonly #make: (content: Content<K, V>) => OrderedMap<K, V>;
  readonly #owner: Owner = {};
  readonly #content: { -readonly [Member in keyof Content<K, V>]: Content<K, V>[Member] };
  #isChanged = false;

  constructor(
    base: OrderedMap<K, V>,
    content: Content<K, V>,
    make: (content: Content<K, V>) => OrderedMap<K, V>,
  ) {
    this.#base = base;
    this.#content = { ...content };
    this.#make = make;
  }

  get size(): number {
    return this.#content.size;
  }

  has(key: K): boolean {
    return find(this.#content, key) !== undefined;
  }

  set(key: K, value: V): void {
    const content = this.#content;
    const number = content.numbers.get(key);
    const known = number === undefined ? undefined : content.byNumber.at(number);
    if (number === undefined || known === undefined) this.#add(key, value);
    else if (known.value !== value) this.#put(number, known.place, { key, value, place: known.place });
  }

  delete(key: K): void {
    const content = this.#content;
    const number = content.numbers.get(key);
    const known = number === undefined ? undefined : content.byNumber.at(number);
    if (number === undefined || known === undefined) return;
    this.#put(number, known.place, undefined);
    content.size -= 1;
  }

  /** The map with the changes. The original map if there are none. */
  finish(): OrderedMap<K, V> {
    return this.#isChanged ? this.#make(this.#content) : this.#base;
  }

  #add(key: K, value: V): void {
    const content = this.#content;
    if (Math.max(content.numbers.size, content.nextPlace) > 2 * content.size + maxUnused) this.#dropUnused();
    const { numbers } = content;
    let number = numbers.get(key);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(key, number);
    }
    const place = content.nextPlace;
    content.nextPlace += 1;
    content.size += 1;
    this.#put(number, place, { key, value, place });
  }

  #put(number: number, place: number, entry: Entry<K, V> | undefined): void {
    const content = this.#content;
    content.byNumber = content.byNumber.with(number, entry, this.#owner);
    content.byPlace = content.byPlace.with(place, entry, this.#owner);
    this.#isChanged = true;
  }

  #dropUnused(): void {
    const entries = this.#content.byPlace.values();
    Object.assign(this.#content, emptyContent());
    for (let next = entries.next(); !next.done; next = entries.next())
      this.#add(next.value.key, next.value.value);
  }
}

function find<K, V>({ numbers, byNumber }: Content<K, V>, key: K): Entry<K, V> | undefined {
  const number = numbers.get(key);
  return number === undefined ? undefined : byNumber.at(number);
}

function emptyContent<K, V>(): Content<K, V> {
  return {
    size: 0,
    numbers: new Map(),
    byNumber: SparseArray.empty(),
    byPlace: SparseArray.empty(),
    nextPlace: 0,
  };
}
