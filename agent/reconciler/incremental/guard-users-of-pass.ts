/** Keeps count of who uses what the guard knows, from one pass to the next. */
import type { Chunked } from "../../../lib/chunked.ts";
import { compileChunked } from "../../../lib/compile/compile.ts";
import type { Program } from "../../../lib/model/program.ts";
import { GuardUsers } from "../../../lib/plan/guard.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { PassResult } from "../pass/pass-result.ts";

export class GuardUsersOfPass {
  #known: { readonly of: Desired; readonly users: GuardUsers } | undefined;
  /** A full pass whose program is not the one in force any more. */
  #outdated: PassResult["planAfter"] | undefined;

  /** The users after a part of the set that the last pass worked on has changed, which makes the set `after` of it. */
  *update(
    { state, planAfter }: Pick<PassResult, "state" | "planAfter">,
    after: Desired,
    part: { readonly from: Program; readonly to: Program },
  ): Chunked<GuardUsers> {
    const users =
      this.#known?.of === state.desired ? this.#known.users : yield* this.#count(state.desired, planAfter);
    users.update(part.from, part.to);
    this.#known = { of: after, users };
    this.#outdated = planAfter;
    return users;
  }

  *#count(desired: Desired, planAfter: PassResult["planAfter"]): Chunked<GuardUsers> {
    const isInForce = planAfter !== this.#outdated;
    const { program } = isInForce ? planAfter : yield* compileChunked(desired, planAfter.compileContext);
    return yield* GuardUsers.of(program);
  }
}
