/** An immutable set in insertion order: see {@link OrderedMap}. */
import { OrderedMap, type OrderedMapDraft } from "./ordered-map.ts";

export class OrderedSet<T> implements ReadonlySet<T> {
  readonly #members: OrderedMap<T, T>;

  private constructor(members: OrderedMap<T, T>) {
    this.#members = members;
  }

  /** A set of `members`. Returns `members` itself if it already is an ordered set. */
  static from<T>(members: Iterable<T>): OrderedSet<T> {
    if (members instanceof OrderedSet) return members;
    return new OrderedSet(OrderedMap.from(Array.from(members, (member) => [member, member])));
  }

  /** Starts a series of changes. */
  edit(): OrderedSetDraft<T> {
    const draft = this.#members.edit();
    return new OrderedSetDraft(draft, () => {
      const members = draft.finish();
      return members === this.#members ? this : new OrderedSet(members);
    });
  }

  get size(): number {
    return this.#members.size;
  }

  has(member: T): boolean {
    return this.#members.has(member);
  }

  forEach(visit: (member: T, same: T, set: ReadonlySet<T>) => void): void {
    for (const member of this) visit(member, member, this);
  }

  keys(): SetIterator<T> {
    return this.#members.keys();
  }

  values(): SetIterator<T> {
    return this.#members.keys();
  }

  entries(): SetIterator<[T, T]> {
    return this.#members.entries();
  }

  [Symbol.iterator](): SetIterator<T> {
    return this.#members.keys();
  }

  union<U>(other: ReadonlySetLike<U>): Set<T | U> {
    return new Set<T | U>(this).union(other);
  }

  intersection<U>(other: ReadonlySetLike<U>): Set<T & U> {
    return new Set(this).intersection(other);
  }

  difference<U>(other: ReadonlySetLike<U>): Set<T> {
    return new Set(this).difference(other);
  }

  symmetricDifference<U>(other: ReadonlySetLike<U>): Set<T | U> {
    return new Set<T | U>(this).symmetricDifference(other);
  }

  isSubsetOf(other: ReadonlySetLike<unknown>): boolean {
    return new Set(this).isSubsetOf(other);
  }

  isSupersetOf(other: ReadonlySetLike<unknown>): boolean {
    return new Set(this).isSupersetOf(other);
  }

  isDisjointFrom(other: ReadonlySetLike<unknown>): boolean {
    return new Set(this).isDisjointFrom(other);
  }
}

/** Changes to an ordered set that nobody else sees before {@link finish}. Do not use it afterwards. */
export class OrderedSetDraft<T> {
  readonly #members: OrderedMapDraft<T, T>;
  /** The set with the changes. The original set if there are none. */
  readonly finish: () => OrderedSet<T>;

  constructor(members: OrderedMapDraft<T, T>, finish: () => OrderedSet<T>) {
    this.#members = members;
    this.finish = finish;
  }

  add(member: T): void {
    this.#members.set(member, member);
  }

  delete(member: T): void {
    this.#members.delete(member);
  }
}
