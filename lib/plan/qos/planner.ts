/** The rate limits subsystem: queueing disciplines, and the table that puts packets into their classes. */
import { type Chunked, everyNth, runSync } from "../../chunked.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { Program, ProgramLimit } from "../../model/program.ts";
import type { Phase } from "../phases.ts";
import type { PlanInput } from "../plan-input.ts";
import {
  type Obstacle,
  type Obstacles,
  type Step,
  type StepNeed,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "../subsystem.ts";
import { compareDevice, type DeviceDifference } from "./compare-device.ts";
import { compareTable, type TableDifference } from "./compare-table.ts";
import type { QosObserved } from "./observed.ts";
import { redirectedTo } from "./scripted.ts";
import { changesOf, type QosStep, type TrafficStep } from "./steps.ts";
import { type WantedQos, wantedQosChunked } from "./wanted.ts";

export const qosPlanner: SubsystemPlanner<QosObserved, QosStep> = {
  name: "qos",
  title: "rate limits",
  serves: ["limit"],
  plan: (input, observed) => runSync(planChunked(input, observed)),
  planChunked,
  reads: ({ program }) => [program],
};

interface Differences {
  readonly devices: ReadonlyMap<InterfaceName, DeviceDifference>;
  readonly table: TableDifference;
}

function* planChunked(
  { program }: Pick<PlanInput, "program">,
  observed: QosObserved,
): Chunked<SubsystemPlan<QosStep>> {
  const { limits = [] } = program;
  if (observed.table === undefined) {
    const objects = limits.map(({ id }) => [id, notSupported] as const);
    return subsystemPlan([], () => ({ objects: new Map(objects), kinds: new Map() }));
  }
  const wanted = yield* wantedQosChunked(program, observed);
  const devices = new Map<InterfaceName, DeviceDifference>();
  for (const [name, { classes }] of wanted.devices) {
    const device = observed.devices.get(name);
    if (classes !== undefined && device !== undefined)
      devices.set(name, yield* compareDevice(name, classes, device));
  }
  const table = yield* compareTable(wanted, observed.table);
  const steps: Step<QosStep>[] = [];
  const isDue = everyNth(describedAtOnce);
  const add = function* (payloads: readonly QosStep[], phase: Phase, needs: readonly StepNeed[] = []) {
    for (const payload of payloads) {
      if (isDue()) yield;
      steps.push({ phase, changes: changesOf(payload), payload, needs });
    }
  };
  const released = releases(program, observed);
  yield* add(released, "routes");
  yield* add(missingNames(program.vpcInterface, wanted, observed, released), "routes");
  for (const { build } of devices.values()) yield* add(build, "routes");
  if (table.step !== undefined) yield* add([table.step], "routes");
  // While packets are put into a class it stays: then they would not be limited at all.
  for (const { remove } of devices.values()) yield* add(remove, "removals", ["qos"]);
  return subsystemPlan(steps, () => obstaclesTo(limits, wanted, { devices, table }));
}

/** Takes a few milliseconds. */
const describedAtOnce = 1_000;

function obstaclesTo(
  limits: readonly ProgramLimit[],
  wanted: WantedQos,
  { devices, table }: Differences,
): Obstacles {
  const objects = new Map<ObjectId, Obstacle>();
  const lack = (id: ObjectId, what: string | undefined) => objects.set(id, pending(what ?? ""));
  if (table.isDefinitionMissing) for (const { id } of limits) lack(id, table.step?.changes[0]?.text);
  for (const [name, { build }] of devices) {
    for (const step of build) {
      const [change] = changesOf(step);
      const concerned = change?.object === undefined ? wanted.devices.get(name)?.objects : [change.object];
      for (const id of concerned ?? []) lack(id, change?.text);
    }
  }
  for (const [id, text] of table.missing) lack(id, text);
  for (const [id, name] of wanted.homeless) objects.set(id, homeless(name));
  return { objects, kinds: new Map() };
}

function homeless(name: InterfaceName): Obstacle {
  const message = `interface ${name} does not exist`;
  return { condition: "Programmed", reason: "InterfaceNotFound", message, isSettled: true };
}

const notSupported: Obstacle = {
  condition: "Programmed",
  reason: "NotSupported",
  message: "this kernel has no nf_tables, which limits need",
  isSettled: true,
};

function pending(what: string): Obstacle {
  return { condition: "Programmed", reason: "Pending", message: `missing: ${what}` };
}

/** What comes in by an interface with a limit does not go to the script's other device any more. */
function releases({ limits = [] }: Program, { devices }: QosObserved): readonly TrafficStep[] {
  const limited = new Set<InterfaceName>(limits.map((limit) => limit.interface));
  return devices
    .entries()
    .toArray()
    .flatMap(([device, { root }]): readonly TrafficStep[] => {
      const from = root === "script" ? redirectedTo(device) : undefined;
      const source = limited.values().find((name) => name === from);
      if (source === undefined) return [];
      return [
        { kind: "release", device: source, what: "ingress" },
        { kind: "release", device, what: "link" },
      ];
    });
}

function missingNames(
  vpcInterface: InterfaceName,
  { alternativeNames }: WantedQos,
  { devices }: QosObserved,
  released: readonly TrafficStep[],
): readonly QosStep[] {
  if (!devices.has(vpcInterface)) return [];
  const known = new Set<string>(
    devices.entries().flatMap(([name, device]) => [name, ...device.alternativeNames]),
  );
  for (const { device } of released) known.delete(device);
  return alternativeNames
    .filter((name) => !known.has(name))
    .map((name) => ({ kind: "name", device: vpcInterface, name }));
}
