/** The order of steps, each subsystem separately, and which changes count as written. */

import t from "tap";
import { type ApplyOptions, applySteps } from "../../../../../agent/reconciler/pass/apply-steps.ts";
import type { StepFailure, Subsystem } from "../../../../../agent/reconciler/subsystem.ts";
import { TimeLimits } from "../../../../../agent/reconciler/time-limits.ts";
import type { Change, SubsystemName } from "../../../../../lib/model/change.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { Phase } from "../../../../../lib/plan/phases.ts";
import type { Plan, PlannedStep } from "../../../../../lib/plan/plan.ts";
import { subsystemPlan } from "../../../../../lib/plan/subsystem.ts";
import { emptyState } from "../../../../../lib/state/state.ts";

const forever = new AbortController().signal;
const options: ApplyOptions = {
  context: { state: emptyState, plan: {} as Plan },
  replan: async () => [],
  unavailable: new Set(),
  hasOpenWork: false,
  timeLimits: new TimeLimits(),
};

function step(
  subsystem: SubsystemName,
  phase: Phase,
  text: string,
  more: Partial<PlannedStep> & { readonly object?: Change["object"] } = {},
): PlannedStep {
  const { object, ...rest } = more;
  const change: Change = { action: "add", subsystem, text, ...(object !== undefined && { object }) };
  return { subsystem, phase, changes: [change], payload: text, ...rest };
}

/** A subsystem that records what it applies, and fails as ordered. */
function subsystem(name: SubsystemName, order: string[], fails?: () => readonly StepFailure[]): Subsystem {
  return {
    planner: { name, title: name, serves: [], plan: () => subsystemPlan([]), reads: () => [] },
    observe: async () => undefined,
    apply: async (steps) => {
      order.push(...steps.map(({ payload }) => `${name} ${String(payload)}`));
      return fails?.() ?? [];
    },
  };
}

const broken = () => {
  throw new GatewayError("command-failed", "the tool hung");
};
const texts = (changes: readonly Change[]) => changes.map(({ text }) => text);

t.test("phases go before subsystems", async (t) => {
  const order: string[] = [];
  const subsystems = [subsystem("address", order), subsystem("rule", order)];
  const steps = [
    step("address", "removals", "old"),
    step("address", "addresses", "new"),
    step("rule", "rules", "a rule"),
  ];
  const { changes } = await applySteps(steps, subsystems, options, forever);
  t.strictSame(order, ["rule a rule", "address new", "address old"]);
  t.strictSame(texts(changes), ["a rule", "new", "old"]);
});

t.test("a hanging subsystem is abandoned, starts nothing more, and delays only what needs it", async (t) => {
  const order: string[] = [];
  const begun: AbortSignal[] = [];
  const hanging: Subsystem = {
    ...subsystem("rule", order),
    apply: (_steps, _context, signal) => {
      begun.push(signal);
      return new Promise(() => undefined);
    },
  };
  const timeLimits: ApplyOptions["timeLimits"] = {
    run: async (what, effect, timeLimitMs, signal, giveUp) => {
      t.ok(timeLimitMs >= 10_000);
      if (begun.length > 0) return effect(signal);
      const givenUp = AbortSignal.abort();
      void effect(givenUp);
      return giveUp(new GatewayError("command-failed", `${what} takes longer`));
    },
  };
  const steps = [
    step("rule", "rules", "a rule"),
    step("address", "addresses", "known"),
    step("address", "addresses", "new", { needs: ["rule"] }),
  ];
  const subsystems = [hanging, subsystem("address", order)];
  const applied = await applySteps(steps, subsystems, { ...options, timeLimits }, forever);
  t.strictSame(order, ["address known"]);
  t.strictSame(texts(applied.changes), ["known"], "nobody knows what became of the rule");
  t.match(applied.failures, [
    { stage: "rule", code: "command-failed", message: "writing rule takes longer" },
  ]);
  t.ok(begun[0]?.aborted);
});

t.test("the time limit of a write grows with its changes", async (t) => {
  const limitOf = async (changes: number): Promise<number> => {
    let limitMs = 0;
    const timeLimits = new TimeLimits();
    const run = timeLimits.run.bind(timeLimits);
    timeLimits.run = (what, effect, timeoutMs, ...others) => {
      limitMs = timeoutMs;
      return run(what, effect, timeoutMs, ...others);
    };
    const steps = Array.from({ length: changes }, (_, number) => step("rule", "rules", `rule ${number}`));
    await applySteps(steps, [subsystem("rule", [])], { ...options, timeLimits }, forever);
    return limitMs;
  };
  const one = await limitOf(1);
  t.ok(one >= 10_000 && one < 11_000, `${one} ms`);
  t.ok((await limitOf(30_001)) >= one + 30_000, "a millisecond for each, which a busy machine may take");
});

t.test("a failed subsystem delays only what needs it", async (t) => {
  const order: string[] = [];
  const subsystems = [
    subsystem("rule", order, broken),
    subsystem("address", order),
    subsystem("route", order),
  ];
  const steps = [
    step("rule", "rules", "a rule"),
    step("address", "addresses", "known"),
    step("address", "addresses", "new", { needs: ["rule"] }),
    step("route", "routes", "default"),
  ];
  const applied = await applySteps(steps, subsystems, options, forever);
  t.strictSame(order, ["rule a rule", "address known", "route default"]);
  t.strictSame(texts(applied.changes), ["known", "default"]);
  t.match(applied.failures, [{ stage: "rule", code: "command-failed", message: "the tool hung" }]);
  const unread = { ...options, unavailable: new Set<SubsystemName>(["rule"]) };
  order.length = 0;
  await applySteps(steps.slice(1), subsystems, unread, forever);
  t.strictSame(order, ["address known", "route default"], "as where it could not be read");
});

t.test("refused steps are not written; a culprit blocks no other object", async (t) => {
  const order: string[] = [];
  const culprit = { object: "fips/bad" as const, code: "rules-refused", message: "no", isRejected: true };
  const refused = { code: "ENETUNREACH", message: "unreachable", text: "route 2" };
  const subsystems = [
    subsystem("rule", order, () => [culprit]),
    subsystem("address", order),
    subsystem("route", order, () => [refused]),
  ];
  const rules = step("rule", "rules", "good", { object: "fips/good" });
  const bad: Change = { action: "add", subsystem: "rule", text: "bad", object: "fips/bad" };
  const steps = [
    { ...rules, changes: [...rules.changes, bad] },
    step("address", "addresses", "new", { needs: ["rule"] }),
    step("route", "routes", "route 1"),
    step("route", "routes", "route 2"),
  ];
  const { changes, failures } = await applySteps(steps, subsystems, options, forever);
  t.strictSame(texts(changes), ["good", "new", "route 1"]);
  t.strictSame(
    failures.map(({ stage }) => stage),
    ["rule", "route"],
  );
});

t.test("removals that make room for a refused step are skipped", async (t) => {
  const order: string[] = [];
  const failure = { object: "eips/a" as const, code: "EINVAL", message: "no", text: "new a" };
  const subsystems = [subsystem("address", order, () => (order.length > 2 ? [] : [failure]))];
  const steps = [
    step("address", "addresses", "new a", { object: "eips/a" }),
    step("address", "addresses", "new b", { object: "eips/b" }),
    step("address", "removals", "old a", { object: "eips/a" }),
    step("address", "removals", "old b", { object: "eips/b" }),
  ];
  await applySteps(steps, subsystems, options, forever);
  t.strictSame(order, ["address new a", "address new b", "address old b"]);
});

t.test("a sweep beside changes runs only if something changed", async (t) => {
  const look: PlannedStep = { subsystem: "flow", phase: "flows", changes: [], payload: "look", isDue: false };
  const lookedAt = async (steps: readonly PlannedStep[], more: Partial<ApplyOptions> = {}) => {
    const order: string[] = [];
    const subsystems = [subsystem("flow", order), subsystem("route", order)];
    await applySteps(steps, subsystems, { ...options, ...more }, forever);
    return order.includes("flow look");
  };
  t.equal(await lookedAt([look]), false);
  t.equal(await lookedAt([{ ...look, isDue: true }]), true);
  t.equal(await lookedAt([look, step("route", "routes", "a route")]), true);
  t.equal(
    await lookedAt([look], { hasOpenWork: true }),
    true,
    "as where the last pass left something undone",
  );
});

t.test("a failed sweep is reported, because no change shows it", async (t) => {
  const look: PlannedStep = { subsystem: "flow", phase: "flows", changes: [], payload: "look" };
  const { hasFailedStepWithoutChange, failures } = await applySteps(
    [look],
    [subsystem("flow", [], broken)],
    options,
    forever,
  );
  t.ok(hasFailedStepWithoutChange);
  t.equal(failures.length, 1);
});

t.test("an error that is not a GatewayError is a bug, and ends the pass", async (t) => {
  const bug = () => {
    throw new TypeError("undefined is not a function");
  };
  await t.rejects(
    applySteps([step("rule", "rules", "a rule")], [subsystem("rule", [], bug)], options, forever),
    TypeError,
  );
});

t.test("what needs an entry in the ledger waits while the ledger cannot be written", async (t) => {
  const order: string[] = [];
  const steps = [
    step("address", "addresses", "new", { needs: ["ledger"] }),
    step("address", "addresses", "known"),
  ];
  const applied = await applySteps(
    steps,
    [subsystem("address", order)],
    { ...options, unavailable: new Set(["ledger"]) },
    forever,
  );
  t.strictSame(order, ["address known"]);
  t.strictSame(texts(applied.changes), ["known"]);
});
