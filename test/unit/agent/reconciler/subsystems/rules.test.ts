/** The rules subsystem on a dataplane in memory: races, refusals, and which object is at fault. */

import t from "tap";
import type { Dataplane, WriteOutcome } from "../../../../../agent/kernel/drivers.ts";
import type { ApplyContext } from "../../../../../agent/reconciler/subsystem.ts";
import { rulesSubsystems } from "../../../../../agent/reconciler/subsystems/rules.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { ObjectId } from "../../../../../lib/model/names.ts";
import type { Plan } from "../../../../../lib/plan/plan.ts";
import type { RulesPlanner } from "../../../../../lib/plan/rules-planner.ts";
import type { Step } from "../../../../../lib/plan/subsystem.ts";
import { emptyState } from "../../../../../lib/state/state.ts";

const forever = new AbortController().signal;
type Ids = readonly ObjectId[];
const raced: WriteOutcome<Ids> = { kind: "raced", error: new GatewayError("netlink-failed", "raced") };
const refused: WriteOutcome<Ids> = { kind: "refused", error: new GatewayError("rules-refused", "EINVAL") };

/**
 * Each rule is the id of its object. The kernel answers with `outcomes` first, then refuses `bad`, then accepts
 * everything.
 */
function world({ outcomes = [] as WriteOutcome<Ids>[], bad = [] as Ids } = {}) {
  const kernel = { rules: [] as Ids, writes: 0 };
  const planner = {
    eipsNamed: () => new Set(),
    countRules: (rules: Ids) => rules.length,
    holdsObjects: (rules: Ids) => rules.length > 0,
    isPristine: (rules: Ids) => rules.length === 0,
    isGateClosed: () => false,
    includes: () => true,
  } as unknown as RulesPlanner<Ids, Ids>;
  const dataplane: Dataplane<Ids, Ids> = {
    planner,
    driver: {
      backend: "nftables",
      retryDelaysMs: [0, 0, 0, 0],
      observe: async () => kernel.rules,
      readDrops: async () => new Map(),
      write: async (payload) => {
        kernel.writes++;
        const outcome = outcomes.shift();
        if (outcome !== undefined) return outcome;
        if (payload.some((id) => bad.includes(id))) return refused;
        kernel.rules = payload;
        return { kind: "done" };
      },
    },
  };
  const wanted: Ids = ["fips/a", "fips/b", "fips/c"];
  const stepsOf = (ids: Ids): readonly Step<Ids>[] => [
    {
      phase: "rules",
      changes: ids.map((object) => ({ action: "add", subsystem: "rule", object, text: `-A ${object}` })),
      payload: ids,
    },
  ];
  const context: ApplyContext<Ids> = {
    state: emptyState,
    plan: {} as Plan,
    changes: [],
    replan: async (without) => stepsOf(wanted.filter((id) => !without.has(id))),
  };
  return { kernel, rule: rulesSubsystems(dataplane).rule, apply: stepsOf(wanted), context };
}

t.test("rules are written in one go", async (t) => {
  const { kernel, rule, apply, context } = world();
  t.strictSame(await rule.apply(apply, context, forever), []);
  t.strictSame(kernel, { rules: ["fips/a", "fips/b", "fips/c"], writes: 1 });
});

t.test("a lost race is retried and succeeds", async (t) => {
  const { kernel, rule, apply, context } = world({ outcomes: [raced, raced] });
  t.strictSame(await rule.apply(apply, context, forever), []);
  t.equal(kernel.writes, 3);
});

t.test("losing the race in every attempt throws, and quarantines no object", async (t) => {
  const { rule, apply, context } = world({ outcomes: Array(9).fill(raced) });
  await t.rejects(rule.apply(apply, context, forever), { code: "netlink-failed", message: /5 times/ });
});

t.test("a refusal is bisected to the object at fault, and all others are programmed", async (t) => {
  const { kernel, rule, apply, context } = world({ bad: ["fips/b"] });
  t.strictSame(await rule.apply(apply, context, forever), [
    { object: "fips/b", code: "rules-refused", message: "EINVAL", isRejected: true },
  ]);
  t.strictSame(kernel.rules, ["fips/a", "fips/c"]);
});

t.test("a refusal that has no object is thrown", async (t) => {
  const { rule, apply, context } = world({ outcomes: Array(99).fill(refused) });
  await t.rejects(rule.apply(apply, context, forever), { code: "rules-refused" });
});
