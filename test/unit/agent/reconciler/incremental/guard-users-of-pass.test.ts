/** The users of the guard's elements are known from pass to pass, and counted again after another kind of pass. */
import t from "tap";
import { GuardUsersOfPass } from "../../../../../agent/reconciler/incremental/guard-users-of-pass.ts";
import type { PassResult } from "../../../../../agent/reconciler/pass/pass-result.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import { compile } from "../../../../../lib/compile/compile.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../../lib/state/state.ts";
import { compileContext, put } from "../../../../support/small-sets.ts";

const programOf = (state: State) => compile(state.desired, compileContext).program;
const remove = (name: string) => ({ type: "delete", kind: "dnat", name }) as unknown as StateChange;
const dnat = (name: string, externalPort: number) => ({
  name,
  eip: "e",
  protocol: "tcp",
  externalPort,
  internalIp: "10.0.1.6",
  internalPort: 80,
});

const both = reduce(emptyState, [
  put("eip", { name: "e", address: "203.0.113.10/24" }, 1),
  put("dnat", dnat("one", 80), 2),
  put("dnat", dnat("two", 81), 3),
]);
const oneLeft = reduce(both, [remove("two")]);
const noneLeft = reduce(oneLeft, [remove("one")]);
const key = "10.0.1.6 . tcp . 80";

/** A step from one state to another, in which the part is the whole set. */
const freed = (users: GuardUsersOfPass, planAfter: PassResult["planAfter"], from: State, to: State) =>
  runSync(users.update({ state: from, planAfter }, to.desired, { from: programOf(from), to: programOf(to) }))
    .difference.remove.backends;

t.test("an element is used as long as one object of the set in force uses it", async (t) => {
  const planAfter = { program: programOf(both), compileContext } as unknown as PassResult["planAfter"];
  const users = new GuardUsersOfPass();
  t.same(freed(users, planAfter, both, oneLeft), []);
  t.same(freed(users, planAfter, oneLeft, noneLeft), [key]);

  t.same(freed(users, planAfter, oneLeft, both), [], "that pass did not come to its end");
  t.same(
    freed(users, planAfter, both, oneLeft),
    [],
    "what the last full pass found is not in force any more, and is not gone by",
  );
  const later = { program: programOf(oneLeft), compileContext } as unknown as PassResult["planAfter"];
  t.same(freed(users, later, oneLeft, noneLeft), [key], "the next one's is");
});
