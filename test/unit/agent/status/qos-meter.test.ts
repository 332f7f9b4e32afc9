/** Counters of Limits go on when a class is made again, and vanish with their Limit. */
import t from "tap";
import { QosMeter } from "../../../../agent/status/qos-meter.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { InterfaceName, ObjectId } from "../../../../lib/model/names.ts";
import type { Program, ProgramLimit } from "../../../../lib/model/program.ts";
import type { ClassCounts } from "../../../../lib/plan/qos/observed.ts";
import { wantedQos } from "../../../../lib/plan/qos/wanted.ts";
import { QosKernel } from "../../../support/qos-kernel.ts";

const [vpc, external] = ["eth0", "net1"] as InterfaceName[] as [InterfaceName, InterfaceName];
const observed = new QosKernel([vpc, external]).observe();
const eips = [10, 11, 12].map((host) => ({
  id: `eips/eip-${host}` as ObjectId,
  address: `203.0.113.${host}` as Ip,
  prefixLength: 24,
  interface: external,
}));

function programOf(...hosts: readonly number[]): Program {
  const limits = hosts.map((host): ProgramLimit => {
    const eip = `203.0.113.${host}` as Ip;
    const id = `limits/l${host}` as ObjectId;
    return { id, target: { kind: "eip", eip }, direction: "egress", interface: external, rate: 1_000 };
  });
  const gateway: ProgramLimit = {
    id: "limits/gw",
    target: { kind: "all" },
    direction: "egress",
    interface: external,
    rate: 9_000,
  };
  const none = { fips: [], dnats: [], pools: [], routes: [], defaultGateway: undefined };
  const interfaces = { vpcInterface: vpc, externalInterface: external };
  return { family: ipv4, ...interfaces, ...none, eips, limits: [gateway, ...limits] };
}

/** The same bytes in every class. */
function countsOf(program: Program, bytes: number): ClassCounts {
  const { classes = [] } = wantedQos(program, observed).devices.get(external) ?? {};
  const statistics = { bytes, dropped: bytes / 10, overlimits: 1, queued: 0 };
  return new Map([[external, new Map(classes.map(({ class: { minor } }) => [minor, statistics]))]]);
}

function meter(maxEips = 10) {
  const told = new Map<string, number>();
  let now: ClassCounts = new Map();
  const meter = new QosMeter({
    driver: { readCounts: async () => now },
    onDropped: (direction, packets) => told.set(direction, (told.get(direction) ?? 0) + packets),
    onCounted: (counter, { eip, direction }, more) => {
      if (more < 0) throw new Error("a counter went back");
      const key = `${eip} ${direction} ${counter}`;
      told.set(key, (told.get(key) ?? 0) + more);
    },
    onGone: ({ eip, direction }) => {
      for (const counter of ["bytes", "dropped", "overlimits"]) told.delete(`${eip} ${direction} ${counter}`);
    },
    maxEips,
  });
  const count = (bytes: number, ...hosts: readonly number[]) => {
    const program = programOf(...hosts);
    meter.update(program, { observed: new Map([["qos", observed]]) }, countsOf(program, bytes));
    return Object.fromEntries(Array.from(told).filter(([key]) => key.endsWith("bytes")));
  };
  const reread = async (bytes: number, ...hosts: readonly number[]) => {
    now = countsOf(programOf(...hosts), bytes);
    await meter.reread(new AbortController().signal);
  };
  return { count, reread, told };
}

t.test("classes of EIPs are counted, also when they begin at 0 again", async (t) => {
  const { count, told } = meter();
  t.same(count(100, 10), { "eip-10 egress bytes": 100 }, "not the device's");
  t.equal(told.get("eip-10 egress dropped"), 10);
  t.same(count(150, 10, 11), { "eip-10 egress bytes": 150, "eip-11 egress bytes": 150 });
  t.same(count(20, 10, 11), { "eip-10 egress bytes": 170, "eip-11 egress bytes": 170 });
  t.same(count(30, 11), { "eip-11 egress bytes": 180 }, "gone with its Limit");
  t.same(count(30), {});
});

t.test("between passes the classes are read again", async (t) => {
  const { count, reread, told } = meter();
  await reread(100, 10);
  t.equal(told.size, 0, "before the first pass nobody knows what the classes are for");
  count(100, 10);
  await reread(150, 10);
  t.equal(told.get("eip-10 egress bytes"), 150);
  t.same(count(170, 10), { "eip-10 egress bytes": 170 });
});

t.test("beyond a number of EIPs they are counted together", async (t) => {
  const { count } = meter(1);
  t.same(count(100, 10, 11, 12), { "eip-10 egress bytes": 100, "other egress bytes": 200 });
  t.same(count(100, 10, 11), { "eip-10 egress bytes": 100, "other egress bytes": 200 });
});
