/** JSON in parts: the same text as `JSON.stringify`, of which only what is needed now was made. */

/**
 * A list whose items are made while they are sent. It is gone through once. An item that is `undefined` is none: after it
 * others have their turn, so that a computation, or a search in vain, holds up nobody.
 */
export class LazyList {
  readonly items: Iterable<unknown>;

  constructor(items: Iterable<unknown>) {
    this.items = items;
  }
}

/** Values and characters that are written at once: some 4 KiB at most. */
const smallEnough = 200;
const charactersOfOne = 64;

/** The text of `value`, in parts of a few KiB; at an empty part others have their turn. */
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

/** What `JSON.stringify` makes of a list. */
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

/** True where the whole text is so short that making it is not worth interrupting. */
export function isSmall(value: unknown): boolean {
  return weigh(value, smallEnough) >= 0;
}

/** What is left of `left` after `value`; negative as soon as it is too much. */
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
