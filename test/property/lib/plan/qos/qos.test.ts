/** Rate limits: a plan that is applied leaves nothing to plan, whatever was there and whatever was damaged. */
import fc from "fast-check";
import t from "tap";
import type { Ip } from "../../../../../lib/model/ip.ts";
import type { ObjectId } from "../../../../../lib/model/names.ts";
import type { ProgramLimit } from "../../../../../lib/model/program.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { qosPlanner } from "../../../../../lib/plan/qos/planner.ts";
import type { QosStep } from "../../../../../lib/plan/qos/steps.ts";
import { maxShaped, wantedQos } from "../../../../../lib/plan/qos/wanted.ts";
import type { SubsystemPlan } from "../../../../../lib/plan/subsystem.ts";
import { limitedDevices, limits } from "../../../../support/limit-arbitraries.ts";
import { limitProgram } from "../../../../support/qos.ts";
import { QosKernel } from "../../../../support/qos-kernel.ts";

const { vpc, external, other } = limitedDevices;

function planOf(limits: readonly ProgramLimit[], kernel: QosKernel): SubsystemPlan<QosStep> {
  return qosPlanner.plan({ program: limitProgram(limits) } as PlanInput, kernel.observe());
}

function apply({ steps }: SubsystemPlan<QosStep>, kernel: QosKernel): void {
  for (const phase of ["routes", "removals"])
    for (const step of steps) if (step.phase === phase) kernel.apply(step.payload);
}

/** What a person or another program does. `pick` chooses among what is there. */
const damages: Readonly<Record<string, (kernel: QosKernel, pick: number) => void>> = {
  "flush a map": ({ elements }, pick) => [...elements.values()][pick % (elements.size || 1)]?.clear(),
  "redirect an element"({ elements }, pick) {
    const values = [...elements.values()][pick % (elements.size || 1)];
    const [key] = values?.keys() ?? [];
    if (key !== undefined) values?.set(key, "1:ffff");
  },
  "add elements": ({ elements }) => {
    for (const values of elements.values()) values.set("192.0.2.99", "1:1").set("*", "1:1");
  },
  "delete the table": (kernel) => kernel.dropTable(),
  "add a rule": (kernel) => kernel.addRule(),
  "delete a class"({ devices }, pick) {
    for (const { classes, queues } of devices.values()) {
      const minor = [...classes.keys()][pick % (classes.size || 1)];
      if (minor === undefined || classes.values().some(({ parent }) => parent === minor)) continue;
      classes.delete(minor);
      queues.delete(minor);
    }
  },
  "delete all classes"({ devices }) {
    for (const { classes, queues } of devices.values()) {
      classes.clear();
      queues.clear();
    }
  },
  "change a class"({ devices }, pick) {
    for (const { classes } of devices.values()) {
      const held = [...classes.values()][pick % (classes.size || 1)];
      if (held !== undefined) classes.set(held.minor, { ...held, ceil: held.ceil + 1 });
    }
  },
  "hang a class elsewhere"({ devices }, pick) {
    for (const { classes } of devices.values()) {
      const held = [...classes.values()][pick % (classes.size || 1)];
      if (held !== undefined && held.minor !== 1) classes.set(held.minor, { ...held, parent: 0 });
    }
  },
  "add classes": ({ devices }) => {
    for (const { classes, root } of devices.values()) {
      const more = { rate: 1, ceil: 1, buffer: 1, ceilBuffer: 1, quantum: 1 };
      if (root !== "ours") continue;
      classes.set(0xfffa, { minor: 0xfffa, parent: 0, ...more });
      classes.set(0xfffb, { minor: 0xfffb, parent: 0xfffa, ...more });
    }
  },
  "change the queues": ({ devices }) => {
    for (const { queues } of devices.values()) for (const minor of queues.keys()) queues.set(minor, "pfifo");
  },
  "remove the root": ({ devices }) => {
    for (const device of devices.values()) {
      if (device.root === "ours") device.root = "default";
      device.classes.clear();
      device.queues.clear();
    }
  },
  "install another root": ({ devices }, pick) => {
    const device = [...devices.values()][pick % devices.size];
    if (device === undefined) return;
    device.root = "foreign";
    device.classes.clear();
    device.queues.clear();
  },
  "lose HTB": (kernel) => {
    kernel.hasHtb = false;
  },
};

t.test("one pass is enough for any set after any other, and after any damage", async (t) => {
  const move = fc.record({
    set: limits,
    damage: fc.option(fc.constantFrom(...Object.keys(damages)), { nil: undefined }),
    pick: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(move, { minLength: 1, maxLength: 6 }), (moves) => {
      const kernel = new QosKernel([vpc, external, other]);
      for (const { set, damage, pick } of moves) {
        apply(planOf(set, kernel), kernel);
        expectConverged(set, kernel);
        if (damage === undefined) continue;
        damages[damage]?.(kernel, pick);
        apply(planOf(set, kernel), kernel);
        expectConverged(set, kernel);
      }
    }),
    { numRuns: 120 },
  );
  t.pass();
});

function expectConverged(set: readonly ProgramLimit[], kernel: QosKernel): void {
  const again = planOf(set, kernel);
  if (again.steps.length > 0)
    throw new Error(`left to do: ${again.steps.flatMap(({ changes }) => changes).map(({ text }) => text)}`);
  if (again.obstacles().objects.size > 0) throw new Error("an object has an obstacle");
  const fresh = freshLike(kernel);
  apply(planOf(set, fresh), fresh);
  if (textOf(kernel) !== textOf(fresh)) throw new Error(`${textOf(kernel)}\n is not\n${textOf(fresh)}`);
}

/** A kernel that never had a limit, with the same foreign root qdiscs. */
function freshLike({ devices, hasHtb }: QosKernel): QosKernel {
  const fresh = new QosKernel([...devices.keys()]);
  fresh.hasHtb = hasHtb;
  for (const [name, { root }] of devices) {
    const device = fresh.devices.get(name);
    if (device !== undefined) device.root = root;
  }
  return fresh;
}

/** Everything but the other names, which stay. */
function textOf(kernel: QosKernel): string {
  const { devices, table } = kernel.observe();
  const sorted = (map: ReadonlyMap<unknown, unknown>) =>
    Array.from(map, (entry) => JSON.stringify(entry)).sort();
  const sets = new Map(Array.from(table?.elements ?? [], ([name, values]) => [name, sorted(values)]));
  return JSON.stringify([
    Array.from(devices, ([name, { root, classes, queues }]) => [name, root, sorted(classes), sorted(queues)]),
    table?.definition,
    sorted(sets),
  ]);
}

t.test("whatever a plan changes for a limit is an obstacle of that limit", async (t) => {
  fc.assert(
    fc.property(limits, limits, (before, after) => {
      const kernel = new QosKernel([vpc, external, other]);
      apply(planOf(before, kernel), kernel);
      const plan = planOf(after, kernel);
      const { objects } = plan.obstacles();
      for (const { action, object } of plan.steps.flatMap(({ changes }) => changes))
        if (action !== "remove" && object !== undefined && !objects.has(object))
          throw new Error(`${object} is changed and Ready`);
    }),
  );
  t.pass();
});

t.test("a foreign root qdisc is left alone: the limits are policed", async (t) => {
  fc.assert(
    fc.property(limits, (set) => {
      const kernel = new QosKernel([vpc, external, other]);
      for (const device of kernel.devices.values()) device.root = "foreign";
      const { steps } = planOf(set, kernel);
      if (steps.some(({ payload: { kind } }) => kind !== "table" && kind !== "name"))
        throw new Error("a foreign qdisc is touched");
    }),
  );
  t.pass();
});

t.test("children never get more than their parent has", async (t) => {
  fc.assert(
    fc.property(limits, (set) => {
      const { devices } = wantedQos(limitProgram(set), new QosKernel([vpc, external, other]).observe());
      for (const { classes = [] } of devices.values())
        for (const { class: parent } of classes) {
          const children = classes.filter((one) => one.class.parent === parent.minor);
          const assured = children.reduce((sum, { class: { rate } }) => sum + rate, 0);
          // Every class has a little, otherwise HTB would not serve it.
          if (assured > parent.ceil + children.length * 1_000) throw new Error("the parent is ignored");
        }
    }),
  );
  t.pass();
});

t.test("too many limits are policed, and fewer are shaped again", async (t) => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, at): ProgramLimit => {
      const eip = `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}` as Ip;
      const id = `limits/l${at}` as ObjectId;
      return { id, direction: "egress", interface: external, rate: 1_250_000, target: { kind: "eip", eip } };
    });
  const kernel = new QosKernel([vpc, external]);
  for (const count of [maxShaped, maxShaped + 1, maxShaped]) {
    apply(planOf(many(count), kernel), kernel);
    expectConverged(many(count), kernel);
    const classes = kernel.devices.get(external)?.classes.size;
    t.equal(classes, count > maxShaped ? 0 : count + 1);
    t.equal([...kernel.elements.values()][0]?.size, count);
  }
});
