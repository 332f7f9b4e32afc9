/**
 * An immutable sparse array: a tree of nodes with 64 items. A change copies the nodes on one path (at most four up to
 * 16 million places) and shares all others with the original.
 */

const bits = 6;
const width = 1 << bits;
const mask = width - 1;

/** Identifies a caller that makes several changes before anybody else sees the array. */
export type Owner = object;

/** 64 items (values on the lowest level, nodes above it), then the {@link Owner} that may change the node in place. */
type Node = unknown[];

export class SparseArray<T> {
  readonly #root: Node | undefined;
  /** Bits to shift an index to get its place in the root. */
  readonly #shift: number;

  private constructor(root: Node | undefined, shift: number) {
    this.#root = root;
    this.#shift = shift;
  }

  static empty<T>(): SparseArray<T> {
    return new SparseArray(undefined, 0);
  }

  /** The value at `index`, an integer from 0 to 2^30. */
  at(index: number): T | undefined {
    let node = this.#root;
    if (index >>> this.#shift >= width) return undefined;
    for (let shift = this.#shift; shift > 0 && node !== undefined; shift -= bits)
      node = node[(index >>> shift) & mask] as Node | undefined;
    return node?.[index & mask] as T | undefined;
  }

  /** The array with `value` at `index`. `undefined` removes the value. */
  with(index: number, value: T | undefined, owner: Owner): SparseArray<T> {
    let root = this.#root;
    let shift = this.#shift;
    for (; index >>> shift >= width; shift += bits) root = root && put(undefined, 0, root, owner);
    const changed = withPath(root, shift, index, value, owner);
    return changed === this.#root && shift === this.#shift ? this : new SparseArray(changed, shift);
  }

  /** Calls `visit` for each index where the two arrays have different values. Nodes that both share cost nothing. */
  forEachDifference(before: SparseArray<T>, visit: (now: T | undefined, was: T | undefined) => void): void {
    compare(this.#root, this.#shift, before.#root, before.#shift, (now, was) =>
      visit(now as T | undefined, was as T | undefined),
    );
  }

  /** The values in order of their indexes. */
  values(): Iterator<T, undefined> {
    return new Values(this.#root, this.#shift);
  }
}

/** Not a generator: a nested generator takes five times as long. */
class Values<T> implements Iterator<T, undefined> {
  readonly #root: Node | undefined;
  readonly #shift: number;
  #leaf: Node | undefined;
  #index = 0;

  constructor(root: Node | undefined, shift: number) {
    this.#root = root;
    this.#shift = shift;
    this.#leaf = this.#nextLeaf();
  }

  next(): IteratorResult<T, undefined> {
    while (this.#leaf !== undefined) {
      const value = this.#leaf[this.#index & mask] as T | undefined;
      this.#index += 1;
      if ((this.#index & mask) === 0) this.#leaf = this.#nextLeaf();
      if (value !== undefined) return { done: false, value };
    }
    return { done: true, value: undefined };
  }

  #nextLeaf(): Node | undefined {
    if (this.#root === undefined || this.#index >>> this.#shift >= width) return undefined;
    return this.#seek(this.#root, this.#shift);
  }

  /**
   * Finds the first leaf node under `node` at or after the current index, and moves the index there. If there is none,
   * moves the index past the end of `node`.
   */
  #seek(node: Node, shift: number): Node | undefined {
    if (shift === 0) return node;
    do {
      const child = node[(this.#index >>> shift) & mask] as Node | undefined;
      const leaf = child && this.#seek(child, shift - bits);
      if (leaf !== undefined) return leaf;
      if (child === undefined) this.#index = ((this.#index >>> shift) + 1) << shift;
    } while (((this.#index >>> shift) & mask) !== 0);
    return undefined;
  }
}

function compare(
  now: Node | undefined,
  nowShift: number,
  was: Node | undefined,
  wasShift: number,
  visit: (now: unknown, was: unknown) => void,
): void {
  if (now === was) return;
  const shift = Math.max(nowShift, wasShift);
  for (let place = 0; place < width; place++) {
    // An array with a lower root is the first child of a root on this level.
    const one = nowShift === shift ? now?.[place] : place === 0 ? now : undefined;
    const other = wasShift === shift ? was?.[place] : place === 0 ? was : undefined;
    if (one === other) continue;
    if (shift === 0) visit(one, other);
    else {
      const [oneShift, otherShift] = [nowShift, wasShift].map((at) => (at === shift ? at - bits : at));
      compare(one as Node | undefined, oneShift ?? 0, other as Node | undefined, otherShift ?? 0, visit);
    }
  }
}

function withPath(
  node: Node | undefined,
  shift: number,
  index: number,
  value: unknown,
  owner: Owner,
): Node | undefined {
  const place = (index >>> shift) & mask;
  if (shift === 0) return put(node, place, value, owner);
  const child = node?.[place] as Node | undefined;
  return put(node, place, withPath(child, shift - bits, index, value, owner), owner);
}

/** A node without items becomes `undefined`: emptied parts use no memory and no time. */
function put(node: Node | undefined, place: number, item: unknown, owner: Owner): Node | undefined {
  if (node?.[place] === item) return node;
  const own =
    node === undefined ? new Array(width + 1).fill(undefined) : node[width] === owner ? node : node.slice();
  own[width] = owner;
  own[place] = item;
  return item !== undefined || hasItems(own) ? own : undefined;
}

function hasItems(node: Node): boolean {
  for (let place = 0; place < width; place++) if (node[place] !== undefined) return true;
  return false;
}
