/** Memoization: remembers the last result of pure functions, so that unchanged input costs nothing. */
import { type Chunked, everyNth } from "./chunked.ts";

/**
 * Memoizes the last result of `compute`, by the identity of its arguments. Only for pure functions over immutable
 * values.
 *
 * @param isWorthIt returns false for results that will hardly be needed again; they are not kept
 */
export function memoizeLast<Arguments extends readonly unknown[], Answer>(
  compute: (...given: Arguments) => Answer,
  isWorthIt: (answer: Answer) => boolean = () => true,
): (...given: Arguments) => Answer {
  const memory = new LastAnswer<Arguments, Answer>();
  return (...given) => {
    const known = memory.recall(given);
    if (known !== undefined) return known.answer;
    const answer = compute(...given);
    if (isWorthIt(answer)) memory.keep(given, answer);
    return answer;
  };
}

/** Like {@link memoizeLast}, for a chunked computation. */
export function memoizeLastChunked<Arguments extends readonly unknown[], Answer>(
  compute: (...given: Arguments) => Chunked<Answer>,
  isWorthIt: (answer: Answer) => boolean = () => true,
): (...given: Arguments) => Chunked<Answer> {
  const memory = new LastAnswer<Arguments, Answer>();
  return function* (...given) {
    const known = memory.recall(given);
    if (known !== undefined) return known.answer;
    const answer = yield* compute(...given);
    if (isWorthIt(answer)) memory.keep(given, answer);
    return answer;
  };
}

/**
 * Like {@link memoizeLastChunked}, but V8 forgets the result at its next major collection: for large results that are
 * needed again soon or never.
 */
export function memoizeBrieflyChunked<Arguments extends readonly unknown[], Answer>(
  compute: (...given: Arguments) => Chunked<Answer>,
): (...given: Arguments) => Chunked<Answer> {
  let memory: WeakRef<LastAnswer<Arguments, Answer>> | undefined;
  return function* (...given) {
    const known = memory?.deref()?.recall(given);
    if (known !== undefined) return known.answer;
    const answer = yield* compute(...given);
    const last = new LastAnswer<Arguments, Answer>();
    last.keep(given, answer);
    memory = new WeakRef(last);
    return answer;
  };
}

class LastAnswer<Arguments extends readonly unknown[], Answer> {
  #last: { readonly given: Arguments; readonly answer: Answer } | undefined;

  recall(given: Arguments): { readonly answer: Answer } | undefined {
    const last = this.#last;
    if (last === undefined || last.given.length !== given.length) return undefined;
    return last.given.every((argument, index) => argument === given[index]) ? last : undefined;
  }

  keep(given: Arguments, answer: Answer): void {
    this.#last = { given, answer };
  }
}

/** Returns the previous value as long as `isEqual`, so that equal values keep one identity. */
export function stabilize<T extends object>(isEqual: (one: T, other: T) => boolean): (value: T) => T {
  const memory = new StableValue<T>();
  return (value) => memory.known(value) ?? memory.keep(value, memory.last && isEqual(memory.last, value));
}

/** Like {@link stabilize}, for a comparison in parts. */
export function stabilizeChunked<T extends object>(
  isEqual: (one: T, other: T) => Chunked<boolean>,
): (value: T) => Chunked<T> {
  const memory = new StableValue<T>();
  return function* (value) {
    return memory.known(value) ?? memory.keep(value, memory.last && (yield* isEqual(memory.last, value)));
  };
}

class StableValue<T extends object> {
  /** The value that stands for all that equal it. */
  last: T | undefined;
  /** The value that was compared with it: it comes again as long as its giver has no newer one. */
  #given: WeakRef<T> | undefined;

  /** `undefined` if `value` has to be compared with the last one. */
  known(value: T): T | undefined {
    return value === this.#given?.deref() ? this.last : undefined;
  }

  keep(value: T, isEqual: boolean | undefined): T {
    this.#given = new WeakRef(value);
    if (this.last === undefined || !isEqual) this.last = value;
    return this.last;
  }
}

/** Whether both sets have the same members. */
export function isSameSet<T>(one: ReadonlySet<T>, other: ReadonlySet<T>): boolean {
  return one === other || (one.size === other.size && one.isSubsetOf(other));
}

/** Takes a few milliseconds. */
const comparedAtOnce = 5_000;

/** The same in parts. */
export function* isSameSetChunked<T>(one: ReadonlySet<T>, other: ReadonlySet<T>): Chunked<boolean> {
  if (one === other) return true;
  if (one.size !== other.size) return false;
  const isDue = everyNth(comparedAtOnce);
  for (const member of one) {
    if (isDue()) yield;
    if (!other.has(member)) return false;
  }
  return true;
}

/** Whether both maps have the same values under the same keys, compared by identity unless `isSame` is given. */
export function isSameMap<K, V>(
  one: ReadonlyMap<K, V>,
  other: ReadonlyMap<K, V>,
  isSame: (one: V, other: V) => boolean = Object.is,
): boolean {
  if (one === other) return true;
  if (one.size !== other.size) return false;
  for (const [key, value] of one) {
    const counterpart = other.get(key);
    if (counterpart === undefined ? value !== undefined || !other.has(key) : !isSame(value, counterpart))
      return false;
  }
  return true;
}

/**
 * How a set of functions memoizes its results. {@link noMemory} removes this layer. Only for pure functions over
 * immutable values.
 */
export interface Memoizer {
  /** By the identity of one argument, for the lifetime of that argument. */
  byKey<Key extends object, Answer>(compute: (key: Key) => Answer): (key: Key) => Answer;
  byKeyChunked<Key extends object, Answer>(
    compute: (key: Key) => Chunked<Answer>,
  ): (key: Key) => Chunked<Answer>;
  /** Only the last result, by the identity of all arguments. */
  last<Arguments extends readonly unknown[], Answer>(
    compute: (...given: Arguments) => Answer,
  ): (...given: Arguments) => Answer;
  lastChunked<Arguments extends readonly unknown[], Answer>(
    compute: (...given: Arguments) => Chunked<Answer>,
  ): (...given: Arguments) => Chunked<Answer>;
}

export const memory: Memoizer = {
  byKey(compute) {
    const answers = new WeakMap<Parameters<typeof compute>[0], { answer: ReturnType<typeof compute> }>();
    return (key) => {
      const { answer } = answers.get(key) ?? { answer: compute(key) };
      answers.set(key, { answer });
      return answer;
    };
  },
  byKeyChunked(compute) {
    const answers = new WeakMap();
    return function* (key) {
      const known = answers.get(key);
      if (known !== undefined) return known.answer;
      const answer = yield* compute(key);
      answers.set(key, { answer });
      return answer;
    };
  },
  last: (compute) => memoizeLast(compute),
  lastChunked: (compute) => memoizeLastChunked(compute),
};

/** Computes every result again. */
export const noMemory: Memoizer = {
  byKey: (compute) => compute,
  byKeyChunked: (compute) => compute,
  last: (compute) => compute,
  lastChunked: (compute) => compute,
};
