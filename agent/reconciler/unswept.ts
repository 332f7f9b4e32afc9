/** Objects whose flows were not looked at since they were changed: an old flow may still go another way. */
import type { ObjectId } from "../../lib/model/names.ts";
import type { Program } from "../../lib/model/program.ts";
import type { Change } from "../../lib/plan/change.ts";

export class Unswept {
  /** Before the first look of this life it is all of them. */
  #isFirst = true;
  #objects: ReadonlyMap<ObjectId, string> = new Map();

  /** Each with why, in readable words. */
  get objects(): ReadonlyMap<ObjectId, string> {
    return this.#objects;
  }

  /** Every flow was looked at. */
  clear(): void {
    this.#isFirst = false;
    this.#objects = new Map();
  }

  /** The flows could not be looked at after `changes`. */
  add(changes: readonly Change[], { eips, fips, dnats, pools }: Program, failure: string): void {
    const users = [...fips, ...dnats, ...pools.flatMap(({ members }) => members)];
    const ids = this.#isFirst ? [...eips, ...users].map(({ id }) => id) : changes.map(({ object }) => object);
    const words = `its flows could not be looked at: ${failure}`;
    const added = ids.filter((id) => id !== undefined).map((id) => [id, words] as const);
    this.#objects = new Map([...this.#objects, ...added]);
  }
}
