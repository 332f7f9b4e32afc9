/**
 * Writes rules, one transaction a table. Where the kernel refuses, the culprit goes into quarantine with the kernel's
 * words and is tried again later, or as soon as it is written anew; all others are programmed at once.
 */

import { GatewayError } from "../../../lib/model/errors.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Clock } from "../../clock.ts";
import type { Dataplane, RulePlan } from "../../kernel/drivers.ts";
import { Backoff } from "../retry/backoff.ts";
import { bisect } from "./bisect.ts";

/** Reads the rules anew and plans them with more objects left out. */
export type Replan = (without: ReadonlySet<ObjectId>) => Promise<RulePlan>;

export class RuleWriter {
  readonly #dataplane: Dataplane;
  readonly #clock: Clock;
  readonly #quarantine = new Backoff<ObjectId>();
  /** The revision at which each object was refused: a newer one deserves a trial at once. */
  readonly #refusedAt = new Map<ObjectId, number>();

  constructor(dataplane: Dataplane, clock: Clock) {
    this.#dataplane = dataplane;
    this.#clock = clock;
  }

  /** The objects to leave out for now, with the kernel's words on each. */
  quarantined(): ReadonlyMap<ObjectId, string> {
    const waiting = this.#quarantine.waiting(this.#clock.bootMs());
    return new Map([...waiting].map(([id, { message }]) => [id, message]));
  }

  /** An object that was written again, or is gone, is no longer what the kernel refused. */
  releaseRewritten(state: State): void {
    for (const [id, revision] of this.#refusedAt) {
      if (revisionOf(state, id) === revision) continue;
      this.#refusedAt.delete(id);
      this.#quarantine.clear(id);
    }
  }

  /** Milliseconds until a quarantined object is tried again. */
  dueInMs(): number | undefined {
    return this.#quarantine.dueInMs(this.#clock.bootMs());
  }

  /** @returns those newly quarantined. Throws `rules-refused` where no single object is at fault. */
  async write(
    state: State,
    plan: RulePlan,
    replan: Replan,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ObjectId, string>> {
    if (plan.changes.length === 0) return new Map();
    const words = await this.#attempt(plan, signal);
    if (words === undefined) return new Map();
    const culprits = await bisect(candidatesOf(plan), words, async (without) =>
      this.#attempt(await replan(without), signal),
    );
    for (const [id, message] of culprits) {
      this.#quarantine.record(id, message, this.#clock.bootMs());
      this.#refusedAt.set(id, revisionOf(state, id));
    }
    return culprits;
  }

  /** @returns the kernel's words where it refused the transaction; what else goes wrong is thrown on */
  async #attempt(plan: RulePlan, signal: AbortSignal): Promise<string | undefined> {
    if (plan.changes.length === 0) return undefined;
    try {
      await this.#dataplane.apply(plan, signal);
      return undefined;
    } catch (error) {
      if (error instanceof GatewayError && error.code === "rules-refused") return error.message;
      throw error;
    }
  }
}

/**
 * Who may be at fault: the objects that the plan writes something for, Eips first. Without its Eip an object has no
 * rules: tried before it, the object would pass for innocent, and the Eip be blamed for it.
 */
function candidatesOf({ changes }: RulePlan): readonly ObjectId[] {
  const eips = new Set<ObjectId>();
  const users = new Set<ObjectId>();
  for (const { object, action } of changes) {
    if (object === undefined || action === "remove") continue;
    (parseObjectId(object).kind === "eip" ? eips : users).add(object);
  }
  return [...eips, ...users];
}

function revisionOf(state: State, id: ObjectId): number {
  const { kind, name } = parseObjectId(id);
  return objectsOf(state.desired, kind).get(name)?.revision ?? 0;
}
