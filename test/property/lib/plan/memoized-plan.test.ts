/**
 * The speed layer gives the same plan as the plain pipeline, whatever it has memoized: sequences of states, snapshots
 * and contexts in which most of the input stays, changes, and changes back. With the real planners.
 */

import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { viewOf } from "../../../../lib/conntrack/flow.ts";
import { memory, noMemory } from "../../../../lib/memoize.ts";
import type { SubsystemName } from "../../../../lib/model/change.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { contradictsChunked, type FlowSweepStep } from "../../../../lib/plan/flows.ts";
import { memoizedPlan } from "../../../../lib/plan/memoized-plan.ts";
import { type Plan, plan } from "../../../../lib/plan/plan.ts";
import type { PlanInput } from "../../../../lib/plan/plan-input.ts";
import { ask, flows, poolOf, questions, rulesUnderTest, states, subsystemsWith } from "./plan-questions.ts";

for (const [name, under] of Object.entries(rulesUnderTest)) {
  t.test(`${name}: the memoized plan is the plain one`, async (t) => {
    let quiet = 0;
    let all = 0;
    fc.assert(
      fc.property(states, states, questions, (first, second, asked) => {
        const layered = subsystemsWith(under.create(memory));
        const memoized = memoizedPlan(layered.map(({ planner }) => planner));
        const pool = poolOf(first, second, under);
        for (const question of asked) {
          const plain = subsystemsWith(under.create(noMemory));
          const given = ask(question, pool, plain);
          const expected = told(
            plan(
              ...given,
              plain.map(({ planner }) => planner),
            ),
          );
          const differing = differences(expected, told(runSync(memoized(...given))));
          if (differing.length > 0) throw new Error(`${differing.join()}: ${JSON.stringify(question)}`);
          all++;
          if (expected.changes.length === 0) quiet++;
        }
      }),
      { numRuns: 60 },
    );
    // A plan is memoized only if there is nothing to do.
    t.ok(quiet > all / 10, `${quiet} of ${all} questions were about a gateway at rest`);
  });

  t.test(`${name}: every planner reads what it says that it reads`, async (t) => {
    const seen = new Map<SubsystemName, Set<string>>();
    fc.assert(
      fc.property(states, states, questions, (first, second, asked) => {
        const subsystems = subsystemsWith(under.create(noMemory));
        const pool = poolOf(first, second, under);
        for (const question of asked) {
          const [desired, snapshot, context] = ask(question, pool, subsystems);
          const input = plan(desired, snapshot, context, []);
          for (const { planner } of subsystems) {
            if (snapshot.unread.has(planner.name)) continue;
            const looked = new Map<string, unknown>();
            const part = planner.plan(watched(input, looked), snapshot.observed.get(planner.name));
            part.obstacles();
            for (const { payload } of part.steps)
              if (planner.name === "flow") sweepTold(payload as FlowSweepStep);
            const declared = new Set(planner.reads(input));
            for (const [path, value] of looked)
              if (!declared.has(value)) throw new Error(`${planner.name} does not declare ${path}`);
            const names = seen.get(planner.name) ?? new Set();
            for (const path of looked.keys()) names.add(path);
            seen.set(planner.name, names);
          }
        }
      }),
      { numRuns: 20 },
    );
    for (const [planner, names] of seen)
      t.ok(
        names.size > 0,
        `${planner} reads of its input ${[...names].join()}: without any, no question was about it`,
      );
  });
}

/** Everything in a plan, as values. */
function told({ parts, steps, compiled, ...plan }: Plan) {
  return {
    ...plan,
    compiled: { ...compiled, usedBy: undefined },
    steps: steps.map(({ payload, ...step }) => ({
      ...step,
      payload: step.subsystem === "flow" ? sweepTold(payload as FlowSweepStep) : payload,
    })),
    parts: Array.from(parts, ([name, { obstacles, notices, isUnfinished }]) => {
      return { name, obstacles: obstacles(), notices, isUnfinished };
    }),
  };
}

function sweepTold({ program, network, removed, retired, leaving }: FlowSweepStep) {
  const doomed = runSync(contradictsChunked(program, network, removed, retired.union(leaving)));
  return { program, leaving, doomed: flows.map((one) => doomed(viewOf(one, ipv4))) };
}

function differences(one: ReturnType<typeof told>, other: ReturnType<typeof told>): readonly string[] {
  const names = Object.keys(one) as readonly (keyof ReturnType<typeof told>)[];
  return names.filter((name) => !isDeepStrictEqual(one[name], other[name]));
}

/** The input, with a record of every access: the fields of `facts` and `context`, and everything else as a whole. */
function watched(input: PlanInput, looked: Map<string, unknown>): PlanInput {
  const watch = <T extends object>(of: T, path: string, within: readonly string[]): T =>
    new Proxy(of, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key);
        const name = `${path}${String(key)}`;
        if (within.includes(name)) return watch(value as object, `${name}.`, []);
        looked.set(name, value);
        return value;
      },
    });
  return watch(input, "", ["facts", "context"]);
}
