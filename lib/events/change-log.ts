/**
 * Which objects changed, in the order of their last change. An object is in it once: a later change takes the place of
 * an earlier one, so the log is no longer than the number of objects, and who reads all of it knows every object's last
 * state.
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

/** Empty places allowed beside the used ones. */
const maxUnused = 1_024;

export class ChangeLog {
  readonly #limits: ChangeLogLimits;
  #sequences: number[] = [];
  #ids: (ObjectId | undefined)[] = [];
  readonly #latest = new Map<ObjectId, number>();
  /** The one that was deleted first comes first. */
  readonly #deleted = new Set<ObjectId>();
  /** Places before this one are empty. */
  #first = 0;
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
    this.#sequences.push(sequence);
    this.#ids.push(id);
    this.#deleted.delete(id);
    if (isDeleted) this.#deleted.add(id);
    this.#bound();
    if (this.#ids.length > 2 * this.#latest.size + maxUnused) this.#dropUnused();
  }

  /** The place of the first change after `sequence`: for {@link at}. Places are good until the next {@link add}. */
  placeAfter(sequence: number): number {
    const { length } = this.#sequences;
    let [low, high] = [Math.min(this.#first, length), length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sequences[middle] ?? 0) > sequence) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The next change at `place` or after it. */
  at(
    place: number,
  ): { readonly place: number; readonly id: ObjectId; readonly sequence: number } | undefined {
    for (let next = place; next < this.#ids.length; next++) {
      const id = this.#ids[next];
      if (id !== undefined) return { place: next, id, sequence: this.#sequences[next] ?? 0 };
    }
    return undefined;
  }

  #empty(sequence: number): void {
    const place = this.placeAfter(sequence - 1);
    this.#ids[place] = undefined;
  }

  #bound(): void {
    if (this.#deleted.size > this.#limits.deleted) {
      const [oldest] = this.#deleted;
      if (oldest !== undefined) this.#drop(oldest);
    }
    if (this.#latest.size > this.#limits.objects) {
      const oldest = this.at(this.#first);
      if (oldest === undefined) return;
      this.#first = oldest.place;
      this.#drop(oldest.id);
    }
  }

  #drop(id: ObjectId): void {
    const sequence = this.#latest.get(id) ?? 0;
    this.#empty(sequence);
    this.#latest.delete(id);
    this.#deleted.delete(id);
    this.#floor = Math.max(this.#floor, sequence);
  }

  #dropUnused(): void {
    const [ids, sequences]: [ObjectId[], number[]] = [[], []];
    for (const [place, id] of this.#ids.entries()) {
      if (id === undefined) continue;
      ids.push(id);
      sequences.push(this.#sequences[place] ?? 0);
    }
    this.#ids = ids;
    this.#sequences = sequences;
    this.#first = 0;
  }
}
