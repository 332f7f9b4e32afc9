/** Keeps count of who uses what the guard knows, from one pass to the next. */
import { compile } from "../../../lib/compile/compile.ts";
import type { Program } from "../../../lib/model/program.ts";
import { GuardUsers } from "../../../lib/plan/guard.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { PassResult } from "../pass/pass-result.ts";

export class GuardUsersOfPass {
  #known: { readonly of: Desired; readonly users: GuardUsers } | undefined;
  /** A full pass whose program is not the one in force any more. */
  #outdated: PassResult["residual"] | undefined;

  /** The users after a part of the set that the last pass worked on has changed, which makes the set `after` of it. */
  update(
    { state, residual }: Pick<PassResult, "state" | "residual">,
    after: Desired,
    part: { readonly from: Program; readonly to: Program },
  ): GuardUsers {
    const users =
      this.#known?.of === state.desired ? this.#known.users : this.#count(state.desired, residual);
    users.update(part.from, part.to);
    this.#known = { of: after, users };
    this.#outdated = residual;
    return users;
  }

  #count(desired: Desired, residual: PassResult["residual"]): GuardUsers {
    const isInForce = residual !== this.#outdated;
    return new GuardUsers(isInForce ? residual.program : compile(desired, residual.compileContext).program);
  }
}
