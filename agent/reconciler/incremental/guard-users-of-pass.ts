/** Tells from one pass to the next which elements of the guard's sets lose their last user. */
import type { Chunked } from "../../../lib/chunked.ts";
import { compileChunked } from "../../../lib/compile/compile.ts";
import type { Program } from "../../../lib/model/program.ts";
import { type GuardPart, GuardUsers } from "../../../lib/plan/guard-users.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { PassResult } from "../pass/pass-result.ts";

export class GuardUsersOfPass {
  #known: { readonly of: Desired; readonly users: GuardUsers } | undefined;
  /** Plans whose program lacks changes of incremental passes. */
  readonly #outdated = new WeakSet<PassResult["planAfter"]>();

  /**
   * What an incremental pass means for the guard: it changes one part of the last pass's set, `part.from`, to `part.to`.
   * The whole set is then `after`.
   */
  *update(
    { state, planAfter }: Pick<PassResult, "state" | "planAfter">,
    after: Desired,
    part: { readonly from: Program; readonly to: Program },
  ): Chunked<GuardPart> {
    const users =
      this.#known?.of === state.desired ? this.#known.users : yield* this.#usersIn(state.desired, planAfter);
    const found = users.update(part.from, part.to);
    this.#known = { of: after, users };
    this.#outdated.add(planAfter);
    return yield* found;
  }

  /** This plan is one of an incremental pass. */
  onPlan(planAfter: PassResult["planAfter"]): void {
    this.#outdated.add(planAfter);
  }

  *#usersIn(desired: Desired, planAfter: PassResult["planAfter"]): Chunked<GuardUsers> {
    const isInForce = !this.#outdated.has(planAfter);
    const { program } = isInForce ? planAfter : yield* compileChunked(desired, planAfter.compileContext);
    return new GuardUsers(program);
  }
}
