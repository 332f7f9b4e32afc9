/** Objects whose flows were not swept since the object changed: an old flow may still have another translation. */
import type { Compiled } from "../../../lib/compile/compile.ts";
import type { Change } from "../../../lib/model/change.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { type Desired, objectsOf } from "../../../lib/state/desired.ts";

/** The set at the time of the last complete sweep. */
interface Swept {
  readonly revision: number;
  /** Objects that were kept out of the program then. */
  readonly blocked: Compiled["blocked"];
}

export class UncheckedObjects {
  /** `undefined` before the first sweep of this process. */
  #swept: Swept | undefined;
  #objects: ReadonlyMap<ObjectId, string> = new Map();

  /** Each with the reason, as text. */
  get objects(): ReadonlyMap<ObjectId, string> {
    return this.#objects;
  }

  /** All flows were swept. */
  clear(swept: Swept): void {
    this.#swept = swept;
    this.#objects = new Map();
  }

  /**
   * The flows could not be swept after `changes`. Also marks objects without a change of their own: a new Eip has the
   * same rules as another Eip with the same address.
   */
  add(changes: readonly Change[], desired: Desired, { program }: Compiled, failure: string): void {
    const { eips, fips, dnats, pools } = program;
    const programmed = [...eips, ...fips, ...dnats, ...pools.flatMap(({ members }) => members)];
    const newcomers = programmed.map(({ id }) => id).filter((id) => this.#isNew(id, desired));
    const changed = changes.map(({ object }) => object).filter((id) => id !== undefined);
    const message = `its flows could not be checked: ${failure}`;
    const added = [...newcomers, ...changed].map((id) => [id, message] as const);
    this.#objects = new Map([...this.#objects, ...added]);
  }

  #isNew(id: ObjectId, desired: Desired): boolean {
    if (this.#swept === undefined || this.#swept.blocked.has(id)) return true;
    const { kind, name } = parseObjectId(id);
    return (objectsOf(desired, kind).get(name)?.revision ?? 0) > this.#swept.revision;
  }
}
