/**
 * Which objects changed, in the order of their last change. An object is in it once: a later change takes the place of
 * an earlier one, so the log is no longer than the number of objects, and who reads all of it knows every object's last
 * state.
 *
 * The places are in blocks, so that empty ones are removed a block at a time: never many in one turn of the event loop.
 *
 * ```
 *   sequences   4     5     9     11          sorted
 *   ids         a     –     c     b           –: b changed again
 * ```
 */
import type { ObjectId } from "../model/names.ts";

export interface ChangeLogLimits {
  /** Objects that are in it. */
  readonly objects: number;
  /** Those of them that were deleted: an endless stream of new names must not fill it. */
  readonly deleted: number;
}

/** Of the largest block. */
const maxPlaces = 1_024;

/** Some places in a row. Where half of them are empty, they are removed. */
interface Block {
  sequences: number[];
  ids: (ObjectId | undefined)[];
  used: number;
}

export class ChangeLog {
  readonly #limits: ChangeLogLimits;
  readonly #blocks: Block[] = [newBlock()];
  readonly #latest = new Map<ObjectId, number>();
  /** The one that was deleted first comes first. */
  readonly #deleted = new Set<ObjectId>();
  #floor: number;

  /** @param floor changes up to this sequence are not known */
  constructor(floor: number, limits: ChangeLogLimits) {
    this.#floor = floor;
    this.#limits = limits;
  }

  /** Changes after this sequence are in the log, all of them; earlier ones may have been dropped. */
  get floor(): number {
    return this.#floor;
  }

  get size(): number {
    return this.#latest.size;
  }

  /** @param sequence above that of every change before */
  add(id: ObjectId, sequence: number, isDeleted: boolean): void {
    const before = this.#latest.get(id);
    if (before !== undefined) this.#empty(before);
    this.#latest.set(id, sequence);
    this.#append(id, sequence);
    this.#deleted.delete(id);
    if (isDeleted) this.#deleted.add(id);
    this.#bound();
  }

  /** The place of the first change after `sequence`: for {@link at}. Places are good until the next {@link add}. */
  placeAfter(sequence: number): number {
    const blocks = this.#blocks;
    const lastOf = ({ sequences }: Block) => sequences.at(-1) ?? Number.POSITIVE_INFINITY;
    const at = firstIndex(blocks.length, (index) => lastOf(blocks[index] as Block) > sequence);
    const { sequences } = blocks[at] ?? newBlock();
    return at * maxPlaces + firstIndex(sequences.length, (index) => (sequences[index] ?? 0) > sequence);
  }

  /** The next change at `place` or after it. */
  at(
    place: number,
  ): { readonly place: number; readonly id: ObjectId; readonly sequence: number } | undefined {
    let from = place % maxPlaces;
    for (let at = Math.floor(place / maxPlaces); at < this.#blocks.length; at++, from = 0) {
      const { ids, sequences } = this.#blocks[at] ?? newBlock();
      for (let index = from; index < ids.length; index++) {
        const id = ids[index];
        if (id !== undefined) return { place: at * maxPlaces + index, id, sequence: sequences[index] ?? 0 };
      }
    }
    return undefined;
  }

  #append(id: ObjectId, sequence: number): void {
    let block = this.#blocks.at(-1);
    if (block === undefined || block.ids.length === maxPlaces) {
      block = newBlock();
      this.#blocks.push(block);
    }
    block.ids.push(id);
    block.sequences.push(sequence);
    block.used++;
  }

  #empty(sequence: number): void {
    const place = this.placeAfter(sequence - 1);
    const at = Math.floor(place / maxPlaces);
    const block = this.#blocks[at];
    if (block === undefined) return;
    block.ids[place % maxPlaces] = undefined;
    block.used--;
    if (2 * block.used < block.ids.length) this.#shrink(at, block);
  }

  /** Removes the empty places of a block, and the block if it fits into the one before. */
  #shrink(at: number, block: Block): void {
    const { ids, sequences } = block;
    block.sequences = sequences.filter((_, index) => ids[index] !== undefined);
    block.ids = ids.filter((id) => id !== undefined);
    const before = this.#blocks[at - 1];
    if (before === undefined ? block.used > 0 : before.ids.length + block.used > maxPlaces) return;
    before?.ids.push(...block.ids);
    before?.sequences.push(...block.sequences);
    if (before !== undefined) before.used += block.used;
    if (this.#blocks.length > 1) this.#blocks.splice(at, 1);
  }

  #bound(): void {
    if (this.#deleted.size > this.#limits.deleted) {
      const [oldest] = this.#deleted;
      if (oldest !== undefined) this.#drop(oldest);
    }
    if (this.#latest.size > this.#limits.objects) {
      const oldest = this.at(0);
      if (oldest !== undefined) this.#drop(oldest.id);
    }
  }

  #drop(id: ObjectId): void {
    const sequence = this.#latest.get(id) ?? 0;
    this.#empty(sequence);
    this.#latest.delete(id);
    this.#deleted.delete(id);
    this.#floor = Math.max(this.#floor, sequence);
  }
}

function newBlock(): Block {
  return { sequences: [], ids: [], used: 0 };
}

/** The first index below `length` at which `holds`, or `length`. It holds at every later one, too. */
function firstIndex(length: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
