/** JSON in parts: the same text as `JSON.stringify`, generated only as far as needed. */

/**
 * A list whose items are created while they are sent. It can be iterated once. An `undefined` item is skipped, and lets
 * the event loop run, so that a long computation or an unsuccessful search blocks nothing.
 */
export class LazyList {
  readonly items: Iterable<unknown>;

  constructor(items: Iterable<unknown>) {
    this.items = items;
  }
}

/** Values and characters that are written at once: about 4 KiB at most. */
const smallEnough = 200;
const charactersOfOne = 64;

/** Yields the text of `value` in parts of a few KiB. After an empty part the event loop runs. */
export function* jsonParts(value: unknown): Generator<string, void, undefined> {
  if (value instanceof LazyList) yield* listParts(value.items);
  else if (isSmall(value)) yield JSON.stringify(value) ?? "null";
  else if (Array.isArray(value)) yield* listParts(nullForNone(value));
  else if (typeof value === "object" && value !== null) yield* objectParts(value);
  else yield JSON.stringify(value);
}

function* listParts(items: Iterable<unknown>): Generator<string, void, undefined> {
  yield "[";
  let separator = "";
  for (const item of items) {
    if (item === undefined) {
      yield "";
      continue;
    }
    if (isSmall(item)) yield separator + JSON.stringify(item);
    else {
      yield separator;
      yield* jsonParts(item);
    }
    separator = ",";
  }
  yield "]";
}

/** Replaces missing items by null, like `JSON.stringify` for a list. */
function* nullForNone(items: readonly unknown[]): Generator<unknown, void, undefined> {
  for (const item of items) yield item ?? null;
}

function* objectParts(object: object): Generator<string, void, undefined> {
  yield "{";
  let separator = "";
  for (const [name, member] of Object.entries(object)) {
    if (member === undefined) continue;
    yield `${separator}${JSON.stringify(name)}:`;
    yield* jsonParts(member);
    separator = ",";
  }
  yield "}";
}

/** True if the text is so short that generating it need not be interrupted. */
export function isSmall(value: unknown): boolean {
  return weigh(value, smallEnough) >= 0;
}

/** The rest of the budget `left` after `value`. Negative as soon as `value` exceeds it. */
function weigh(value: unknown, left: number): number {
  if (typeof value === "string") return left - 1 - value.length / charactersOfOne;
  if (typeof value !== "object" || value === null) return left - 1;
  if (value instanceof LazyList) return -1;
  let rest = left - 1;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    rest = weigh(member, rest);
    if (rest < 0) return rest;
  }
  return rest;
}
