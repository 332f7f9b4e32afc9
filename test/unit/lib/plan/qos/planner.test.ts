/** Rate limits: which classes and rules each set of limits has, and what the objects say. */
import t from "tap";
import type { Cidr, Ip } from "../../../../../lib/model/ip.ts";
import type { InterfaceName, ObjectId } from "../../../../../lib/model/names.ts";
import type { LimitTarget, Program, ProgramLimit } from "../../../../../lib/model/program.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { minorsOf } from "../../../../../lib/plan/qos/class-minors.ts";
import { nothingObserved } from "../../../../../lib/plan/qos/observed.ts";
import { qosPlanner } from "../../../../../lib/plan/qos/planner.ts";
import { wantedQos } from "../../../../../lib/plan/qos/wanted.ts";
import { limitProgram } from "../../../../support/qos.ts";
import { QosKernel } from "../../../../support/qos-kernel.ts";

const [vpc, external, other] = ["eth0", "net1", "net2"] as InterfaceName[] as [
  InterfaceName,
  InterfaceName,
  InterfaceName,
];
const mbit = 125_000;
const ip = "203.0.113.10" as Ip;
const eip: LimitTarget = { kind: "eip", eip: ip };
const all: LimitTarget = { kind: "all" };

function limit(name: string, target: LimitTarget, rate: number, more: Partial<ProgramLimit> = {}) {
  const id = `limits/${name}` as ObjectId;
  return { id, target, direction: "egress", interface: external, rate: rate * mbit, ...more } as ProgramLimit;
}

function network(cidr: string, side: "source" | "destination" = "destination"): LimitTarget {
  return { kind: "network", side, cidr: cidr as Cidr };
}

const kernel = () => new QosKernel([vpc, external]);

/** Of a device: what each class sends at least and at most, in Mbit, by the object; below its parent's. */
function treeOf(device: InterfaceName, ...limits: readonly ProgramLimit[]): readonly string[] {
  const { classes = [] } = wantedQos(limitProgram(limits), kernel().observe()).devices.get(device) ?? {};
  return classes.map(({ class: { rate, ceil, parent }, object, queueBytes }) => {
    const above =
      classes.find((one) => one.class.minor === parent)?.object ?? (parent === 0 ? "root" : "device");
    const what = queueBytes === undefined ? "holds" : "queues";
    return `${above} / ${object ?? "device"} ${what} ${rate / mbit} ${ceil / mbit}`;
  });
}

t.test("the limits of a device, of networks and of EIPs as classes", async (t) => {
  t.strictSame(treeOf(external, limit("a", eip, 10)), [
    "root / device holds 1000000 1000000",
    "device / limits/a queues 10 10",
  ]);
  const below = [limit("a", eip, 10), limit("n", network("198.51.100.0/24"), 40)];
  t.strictSame(treeOf(external, limit("gw", all, 50), ...below), [
    "root / limits/gw holds 50 50",
    "limits/gw / limits/gw queues 0.008 50",
    "limits/gw / limits/a queues 10 10",
    "limits/gw / limits/n queues 40 40",
  ]);
  const tooMuch = treeOf(external, limit("gw", all, 49), ...below).slice(2);
  t.strictSame(
    tooMuch,
    ["limits/gw / limits/a queues 0.008 10", "limits/gw / limits/n queues 0.008 40"],
    "a class sends at its rate whatever its parent sends, so the children together must ask for less",
  );
});

t.test("what comes in is limited where it leaves", async (t) => {
  const ingress = { direction: "ingress" } as const;
  const limits = [limit("a", eip, 10, ingress), limit("gw", all, 50, ingress)];
  t.strictSame(treeOf(external, ...limits), []);
  t.strictSame(treeOf(vpc, ...limits), [
    "root / device holds 1000000 1000000",
    "device / limits/gw holds 50 50",
    "limits/gw / limits/gw queues 0.008 50",
    "limits/gw / limits/a queues 10 10",
  ]);
  const fromVpc = limit("vpc", all, 50, { ...ingress, interface: vpc });
  t.strictSame(treeOf(external, fromVpc, limit("a", eip, 10)).slice(1), [
    "device / limits/vpc holds 50 50",
    "limits/vpc / limits/vpc queues 0.008 50",
    "limits/vpc / limits/a queues 10 10",
  ]);
});

t.test("of two limits of all packets the lower one holds", async (t) => {
  const tree = treeOf(external, limit("a", all, 50), limit("b", all, 20), limit("c", all, 30));
  t.equal(tree[0], "root / limits/b holds 20 20");
});

/** The rules of the table: the object, or the EIPs of a map. */
function rulesOf(...limits: readonly ProgramLimit[]): readonly string[] {
  const { definition, elements } = wantedQos(limitProgram(limits), kernel().observe());
  return (definition?.rules ?? []).map(({ match }) => {
    if ("map" in match) return Array.from(elements.get(match.map) ?? [], ([, { object }]) => object).join();
    return "network" in match ? (match.network ?? "all") : match.set;
  });
}

t.test("the limit with the lowest priority takes a packet: its rule is the last", async (t) => {
  const [a, b] = ["203.0.113.11", "203.0.113.12"].map((address) => ({
    kind: "eip" as const,
    eip: address as Ip,
  })) as [LimitTarget, LimitTarget];
  const wide = network("198.51.100.0/24");
  const narrow = network("198.51.100.7/32");
  t.strictSame(
    rulesOf(limit("a", a, 1, { priority: 1 }), limit("n", wide, 1, { priority: 2 }), limit("gw", all, 1)),
    ["all", wide.kind === "network" ? wide.cidr : "", "limits/a"],
  );
  t.strictSame(
    rulesOf(
      limit("b", b, 1, { priority: 3 }),
      limit("a", a, 1, { priority: 1 }),
      limit("none", eip, 1),
      limit("n", wide, 1, { priority: 2 }),
    ),
    ["limits/none,limits/b", "198.51.100.0/24", "limits/a"],
    "without a priority: after all others",
  );
  t.strictSame(
    rulesOf(limit("a", a, 1), limit("m", narrow, 1), limit("n", wide, 1)),
    ["198.51.100.0/24", "198.51.100.7/32", "limits/a"],
    "on a tie the smaller network, then an EIP",
  );
});

t.test("what an object says", async (t) => {
  const far = [
    limit("far", all, 10, { interface: other }),
    limit("from-far", all, 10, { interface: other, direction: "ingress" }),
  ];
  const input = { program: limitProgram([limit("a", eip, 10), ...far]) };
  const reasons = (observed: Parameters<typeof qosPlanner.plan>[1]) =>
    Array.from(
      qosPlanner.plan(input as PlanInput, observed).obstacles().objects,
      ([id, { reason }]) => `${id} ${reason}`,
    );
  t.strictSame(reasons(kernel().observe()), [
    "limits/a Pending",
    "limits/far InterfaceNotFound",
    "limits/from-far InterfaceNotFound",
  ]);
  t.strictSame(reasons(nothingObserved), [
    "limits/a NotSupported",
    "limits/far NotSupported",
    "limits/from-far NotSupported",
  ]);
});

t.test("the other name of the VPC interface stays when its limits are gone", async (t) => {
  const here = kernel();
  const apply = (program: Program) => {
    for (const { payload } of qosPlanner.plan({ program } as PlanInput, here.observe()).steps)
      here.apply(payload);
  };
  const names = () => here.devices.get(vpc)?.alternativeNames;
  apply(limitProgram([]));
  t.strictSame(names(), []);
  apply(limitProgram([limit("a", eip, 10)]));
  t.strictSame(names(), ["ifb-net1"]);
  apply(limitProgram([]));
  t.strictSame(names(), ["ifb-net1"]);
  t.equal(here.devices.get(external)?.root, "ours");
  t.equal(here.devices.get(external)?.classes.size, 0);
});

t.test("the numbers of classes follow from their purpose", async (t) => {
  const keys = Array.from({ length: 4_000 }, (_, at) => `eip 10.0.${at >> 8}.${at & 255} `);
  const minors = minorsOf(keys);
  t.equal(new Set(minors.values()).size, keys.length);
  t.ok(minors.values().every((minor) => minor >= 0x10 && minor <= 0xffef));
  const others = minorsOf(keys.filter((_, at) => at % 7 !== 0));
  const moved = others.entries().filter(([key, minor]) => minors.get(key) !== minor);
  t.ok([...moved].length < 100, "few move when others leave");
  t.same(
    minorsOf([...keys, "more"])
      .entries()
      .take(keys.length)
      .toArray(),
    [...minors],
    "none when others come",
  );
});
