/** What the doctor collects: test/faults plays what it has to find. */
import { tmpdir } from "node:os";
import t from "tap";
import type { AddressOnLink } from "../../../../agent/kernel/drivers.ts";
import { StatusBoard } from "../../../../agent/status/board.ts";
import { createDoctor, type DoctorDeps } from "../../../../agent/status/doctor.ts";
import type { FlowPredicate, FlowView } from "../../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { Plan } from "../../../../lib/plan/plan.ts";
import { World } from "../../../support/admission.ts";
import { device, toIp } from "../../../support/network-values.ts";
import { eip, fip } from "../../../support/specs.ts";

const seenReply = 2;

/** The flow of a packet to `destination`, which the other end sees from `seenAs`. */
function flow(source: string, destination: string, seenAs: string, status = 0): FlowView {
  const value = (text: string) => ipv4.toValue(toIp(text));
  return {
    protocol: 17,
    zone: 0,
    status,
    originalSource: value(source),
    originalDestination: value(destination),
    originalSourcePort: 1,
    originalDestinationPort: 2,
    replySource: value(destination),
    replyDestination: value(seenAs),
    replySourcePort: 2,
    replyDestinationPort: 1,
  };
}

const reconciler: DoctorDeps["reconciler"] = {
  result: undefined,
  failure: undefined,
  adoption: { unread: [], refusal: undefined },
  isUnadopted: false,
  heldEips: new Map(),
  inspect: async () => {
    throw new GatewayError("unreadable", "cut short");
  },
};

function doctorOf(flows: readonly FlowView[], held: readonly string[], more: Partial<DoctorDeps> = {}) {
  const world = new World();
  world.set({ generation: 1, eips: [eip("a", 10)], fips: [fip("f", "a")] });
  const { state } = world;
  const place = (address: string): [Ip, AddressOnLink] => [
    toIp(address),
    { interface: device("net1"), address: toIp(address) },
  ];
  return createDoctor({
    family: ipv4,
    config: {
      vpcInterface: device("eth0"),
      externalInterface: device("net1"),
      untranslated: "forward",
      stateDir: tmpdir(),
    },
    clock: { wallMs: () => Date.parse("2026-01-01T00:00:00Z") },
    store: { current: state, recovery: { recovered: "fresh", detail: "" }, failure: undefined },
    board: new StatusBoard("epoch-1", () => state, "2026-01-01T00:00:00.000Z"),
    reconciler: { ...reconciler, heldEips: new Map(held.map(place)) },
    conntrack: {
      async find(matches: FlowPredicate) {
        for (const one of flows) matches(one);
        return { flows: [], total: 0 };
      },
    },
    dataplane: { driver: { backend: "nftables" } },
    flows: { nearlyFull: async () => [] },
    commands: async () => {
      throw new GatewayError("command-failed", "no such tool");
    },
    api: () => ({ degradations: [{ reason: "TokenFileInvalid", message: "it is empty" }] }),
    ...more,
  });
}

const never = new AbortController().signal;

t.test("what is wrong is found, wherever it is known", async (t) => {
  const { checkedAt, checks } = await doctorOf([], []).examine(never);
  t.equal(checkedAt, "2026-01-01T00:00:00.000Z");
  const found = new Map(checks.map((check) => [check.check, check]));
  t.match(found.get("rules"), {
    result: "failed",
    detail: /PassFailing: cut short.*eips\/a Pending.*fips\/f Pending/s,
    objects: ["eips/a", "fips/f"],
  });
  t.match(found.get("access"), { result: "failed", detail: "TokenFileInvalid: it is empty" });
  t.match(found.get("tools"), { result: "failed", detail: "cannot run nft, ip" });
  t.match(found.get("eips"), { result: "skipped" });
  t.match(found.get("disk")?.detail, tmpdir());
});

t.test("what a pass would change is drift, unless it changes nothing before the adoption", async (t) => {
  const inspect = async () => ({ changes: [{ text: "table ip natgw" }] }) as unknown as Plan;
  const driftIf = async (isUnadopted: boolean) => {
    const doctor = doctorOf([], [], { reconciler: { ...reconciler, isUnadopted, inspect } });
    const { checks } = await doctor.examine(never);
    return checks.find(({ check }) => check === "drift");
  };
  t.match(await driftIf(false), { result: "uncertain", detail: "a pass would change now: table ip natgw" });
  t.match(await driftIf(true), { result: "ok" });
});

t.test("flows show which EIPs packets come to from outside", async (t) => {
  const held = ["203.0.113.10", "203.0.113.11", "203.0.113.12"];
  const eipsBy = async (...flows: readonly FlowView[]) => {
    const { checks } = await doctorOf(flows, held).examine(never);
    return checks.find(({ check }) => check === "eips");
  };
  t.match((await eipsBy())?.detail, /^3 of 3 EIPs without a flow with packets from outside now;/);
  const inward = flow("198.51.100.7", "203.0.113.10", "198.51.100.7");
  const answered = flow("10.0.1.5", "198.51.100.7", "203.0.113.11", seenReply);
  t.match((await eipsBy(inward, answered))?.detail, /^1 of 3 EIPs without a flow/);
  const unanswered = flow("10.0.1.5", "198.51.100.7", "203.0.113.12");
  const hairpin = flow("10.0.1.5", "203.0.113.12", "203.0.113.12", seenReply);
  t.match(
    (await eipsBy(inward, answered, unanswered, hairpin))?.detail,
    /^1 of 3 EIPs without a flow/,
    "neither shows anything",
  );
  const other = flow("10.0.1.5", "198.51.100.7", "203.0.113.12", seenReply);
  t.match(await eipsBy(inward, answered, other), { result: "ok", detail: /all 3 EIPs/ });
});
