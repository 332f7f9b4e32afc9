/** Limits that were programmed are read back as the same limits: a plan for them changes nothing. */
import { deepStrictEqual } from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import type { ReadLimit } from "../../../../lib/import/limit-specs.ts";
import { readLimits } from "../../../../lib/import/limits.ts";
import { bytesPerMB, bytesPerMbit } from "../../../../lib/kinds/limit.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { objectId } from "../../../../lib/model/names.ts";
import type { LimitTarget, ProgramLimit } from "../../../../lib/model/program.ts";
import type { PlanInput } from "../../../../lib/plan/plan-input.ts";
import { minorsOf } from "../../../../lib/plan/qos/class-minors.ts";
import { qosPlanner } from "../../../../lib/plan/qos/planner.ts";
import { limitedDevices, limits } from "../../../support/limit-arbitraries.ts";
import { limitProgram } from "../../../support/qos.ts";
import { QosKernel } from "../../../support/qos-kernel.ts";

const { vpc, external, other } = limitedDevices;
const interfaces = { vpcInterface: vpc, externalInterface: external };

function planOf(set: readonly ProgramLimit[], kernel: QosKernel) {
  return qosPlanner.plan({ program: limitProgram(set) } as PlanInput, kernel.observe());
}

function program(set: readonly ProgramLimit[], kernel: QosKernel): void {
  for (const { payload } of planOf(set, kernel).steps) kernel.apply(payload);
}

/** As it is compiled. */
function compiled({ spec, eip, interface: name }: ReadLimit): ProgramLimit {
  const { direction, rateMbit, burstMB, priority, match } = spec;
  const cidr = match?.src ?? match?.dst;
  const target: LimitTarget =
    eip !== undefined
      ? { kind: "eip", eip }
      : cidr === undefined
        ? { kind: "all" }
        : { kind: "network", side: match?.src === undefined ? "destination" : "source", cidr };
  return {
    id: objectId("limit", spec.name),
    direction,
    interface: name,
    target,
    rate: Math.round(rateMbit * bytesPerMbit),
    ...(burstMB !== undefined && { burst: Math.round(burstMB * bytesPerMB) }),
    ...(priority !== undefined && { priority }),
  };
}

/** A policer cannot have the highest rates, so these are not read back: rates.test.ts. */
const highest = 100_000 * bytesPerMbit;
const readable = limits.map((set) => set.map((limit) => ({ ...limit, rate: Math.min(limit.rate, highest) })));

/** What is the same again. The burst is only what the kernel has of it. */
function identity({ direction, interface: name, target, rate, priority }: ProgramLimit): string {
  return JSON.stringify([direction, name, target, rate, priority]);
}

t.test("any set, shaped or policed", async (t) => {
  const root = fc.constantFrom("default", "foreign") as fc.Arbitrary<"default" | "foreign">;
  fc.assert(
    fc.property(readable, fc.tuple(root, root, root), (set, roots) => {
      const kernel = new QosKernel([vpc, external, other]);
      for (const [at, device] of [...kernel.devices.values()].entries()) device.root = roots[at] ?? "default";
      program(set, kernel);
      const read = readLimits(kernel.observe(), interfaces);
      deepStrictEqual(read.unread, []);
      const again = read.limits.map(compiled);
      deepStrictEqual(again.map(identity).sort(), set.map(identity).sort());
      deepStrictEqual(planOf(again, kernel).steps, []);
      // The decimals are those that a person would write.
      for (const { rateMbit, burstMB = 0 } of read.limits.map(({ spec }) => spec))
        if (`${rateMbit}`.length > 8 || `${burstMB}`.length > 8) throw new Error(`${rateMbit}, ${burstMB}`);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test("classes whose numbers collide are given the same numbers again", async (t) => {
  const many = Array.from({ length: 2_500 }, (_, at): ProgramLimit => {
    const eip = `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}` as Ip;
    const id = objectId("limit", `l${at}` as never);
    return { id, direction: "egress", interface: external, rate: 1_250_000, target: { kind: "eip", eip } };
  });
  const keys = many.map(({ target }) => (target.kind === "eip" ? `eip ${target.eip}  ` : ""));
  const alone = keys.map((key) => minorsOf([key]).get(key));
  t.ok(new Set(alone).size < keys.length, "some have the number of another one");
  const kernel = new QosKernel([vpc, external]);
  program(many.toReversed(), kernel);
  const again = readLimits(kernel.observe(), interfaces).limits.map(compiled);
  t.equal(again.length, many.length);
  t.strictSame(planOf(again, kernel).steps, []);
});

t.test("what is no limit of the agent's is reported", async (t) => {
  const kernel = new QosKernel([vpc, external]);
  const target = { kind: "eip", eip: "203.0.113.10" as Ip } as const;
  const id = objectId("limit", "one" as never);
  program([{ id, direction: "egress", interface: external, rate: 1_250_000, target }], kernel);
  kernel.addRule();
  kernel.devices.get(external)?.classes.clear();
  t.match(readLimits(kernel.observe(), interfaces), {
    limits: [],
    unread: [
      { what: "rules that are not the agent's: 1", where: "ip natgw_qos" },
      { what: /^203.0.113.10 in class 1:/, why: /^there is no class 1:\w+ on net1$/ },
    ],
  });
});
