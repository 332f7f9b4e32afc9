/** Objects whose flows were not looked through since they were changed: an old flow may still be translated otherwise. */
import type { Compiled } from "../../../lib/compile/compile.ts";
import type { Change } from "../../../lib/model/change.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { type Desired, objectsOf } from "../../../lib/state/desired.ts";

/** The set as it was when every flow was looked at. */
interface Swept {
  readonly revision: number;
  /** Kept out of the program then. */
  readonly blocked: Compiled["blocked"];
}

export class UnsweptObjects {
  /** `undefined` before the first look of this life. */
  #swept: Swept | undefined;
  #objects: ReadonlyMap<ObjectId, string> = new Map();

  /** Each with the reason, for people. */
  get objects(): ReadonlyMap<ObjectId, string> {
    return this.#objects;
  }

  /** Every flow was looked through. */
  clear(swept: Swept): void {
    this.#swept = swept;
    this.#objects = new Map();
  }

  /**
   * The flows could not be looked through after `changes`. An object without a change of its own may be new, too: the rules of
   * an Eip are the same as those of another Eip with its address.
   */
  add(changes: readonly Change[], desired: Desired, { program }: Compiled, failure: string): void {
    const { eips, fips, dnats, pools } = program;
    const programmed = [...eips, ...fips, ...dnats, ...pools.flatMap(({ members }) => members)];
    const newcomers = programmed.map(({ id }) => id).filter((id) => this.#isNew(id, desired));
    const changed = changes.map(({ object }) => object).filter((id) => id !== undefined);
    const words = `its flows could not be looked at: ${failure}`;
    const added = [...newcomers, ...changed].map((id) => [id, words] as const);
    this.#objects = new Map([...this.#objects, ...added]);
  }

  #isNew(id: ObjectId, desired: Desired): boolean {
    if (this.#swept === undefined || this.#swept.blocked.has(id)) return true;
    const { kind, name } = parseObjectId(id);
    return (objectsOf(desired, kind).get(name)?.revision ?? 0) > this.#swept.revision;
  }
}
