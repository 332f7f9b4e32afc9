import t from "tap";
import type { Clock } from "../../../../../agent/clock.ts";
import type { ConntrackStats } from "../../../../../agent/kernel/drivers.ts";
import type { ApplyContext } from "../../../../../agent/reconciler/subsystem.ts";
import { FlowSubsystem } from "../../../../../agent/reconciler/subsystems/flows.ts";
import { type Flow, type FlowPredicate, viewOf } from "../../../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import { type FlowSweepStep, flowPlanner } from "../../../../../lib/plan/flows.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import type { Step } from "../../../../../lib/plan/subsystem.ts";
import { emptyState } from "../../../../../lib/state/state.ts";
import { ip, flow as labFlow, network, program } from "../../../../support/conntrack-samples.ts";

const forever = new AbortController().signal;
const clock: Clock = {
  wallMs: () => 0,
  bootMs: () => 1_000,
  instant: () => ({ bootId: "b", bootMs: 1_000, wallMs: 0 }),
};
const context = {
  state: emptyState,
  plan: { compiled: { blocked: new Map(), program: { eips: [], fips: [], dnats: [], pools: [] } } },
  changes: [{ action: "add", subsystem: "rule", object: "fips/f", text: "a rule" }],
} as unknown as ApplyContext<FlowSweepStep>;

const eip = ip("203.0.113.10");
/** A flow that contradicts the program only as long as its EIP counts as a former one. */
const flow = labFlow("udp 198.51.100.7:4000 203.0.113.10:53 | 10.0.1.5:53 198.51.100.7:4000");
const atRest = { program: program({}), network, removed: [], retired: new Set<Ip>() };

function stepFor(...leaving: readonly Ip[]): Step<FlowSweepStep> {
  return { phase: "flows", changes: [], payload: { ...atRest, leaving: new Set(leaving) } };
}

t.test("after a sweep that found something, only the timer starts another one", async (t) => {
  let flows: readonly Flow[] = [flow];
  const flowsSubsystem = new FlowSubsystem(
    {
      readStats: async () => ({ count: 100, max: 10_000 }),
      find: async () => ({ flows, total: flows.length }),
      remove: async () => ({ removed: flows.length }),
    },
    clock,
  );
  const isDue = async (reason: string) =>
    (await flowsSubsystem.observe(forever, { isResync: true, reasons: [reason] })).isDue;
  for (const isFound of [true, false]) {
    await flowsSubsystem.apply([stepFor(eip)], context, forever);
    t.notOk(await isDue("api"), "once a pass");
    flowsSubsystem.onPassEnd({ isDone: true });
    t.equal(await isDue("timer"), isFound);
    t.ok(await isDue("api"), "who asks gets one");
    flows = [];
  }
});

t.test("a full table is reported until there is room again", async (t) => {
  let stats: ConntrackStats | undefined = { count: 100, max: 10_000 };
  const subsystem = new FlowSubsystem(
    {
      find: async () => ({ flows: [], total: 0 }),
      remove: async () => ({ removed: 0 }),
      readStats: async () => {
        if (stats === undefined) throw new GatewayError("unreadable", "EACCES");
        return stats;
      },
    },
    clock,
  );
  const notices = async () => {
    const observed = await subsystem.observe(forever, { isResync: true, reasons: ["timer"] });
    const input = { program: atRest.program, facts: {}, ledger: {}, addresses: {} } as unknown as PlanInput;
    return flowPlanner.plan(input, observed).notices;
  };
  t.same(await notices(), []);
  stats = { count: 9_901, max: 10_000 };
  t.same(await notices(), [
    {
      reason: "FlowTableFull",
      message: "all of 10000 entries of the conntrack table are in use: new flows are dropped",
    },
  ]);
  stats = { count: 9_800, max: 10_000 };
  t.same(await notices(), []);
  stats = { count: undefined, max: undefined };
  t.same(await notices(), [], "conntrack is not active");
  stats = undefined;
  t.same(await notices(), [], "nobody knows");
});

t.test("after a failed sweep the changed objects are not Ready, and their EIPs stay retired", async (t) => {
  let isBroken = true;
  const asked: FlowPredicate[] = [];
  const subsystem = new FlowSubsystem(
    {
      readStats: async () => ({ count: 100, max: 10_000 }),
      find: async (predicate) => {
        if (isBroken) throw new GatewayError("netlink-failed", "ENOBUFS");
        asked.push(predicate);
        return { flows: [], total: 0 };
      },
      remove: async () => ({ removed: 0 }),
    },
    clock,
  );
  const isEnded = () => asked.map((contradicts) => contradicts(viewOf(flow, ipv4)));
  await t.rejects(subsystem.apply([stepFor(eip)], context, forever), /ENOBUFS/);
  const { unchecked } = await subsystem.observe(forever, { isResync: false, reasons: [] });
  t.match(unchecked.get("fips/f"), /could not be checked: ENOBUFS/);
  subsystem.onPassEnd({ isDone: false });
  isBroken = false;
  await subsystem.apply([stepFor()], context, forever);
  t.strictSame(isEnded(), [true]);
  t.equal((await subsystem.observe(forever, { isResync: false, reasons: [] })).unchecked.size, 0);
  subsystem.onPassEnd({ isDone: true });
  await subsystem.apply([stepFor()], context, forever);
  t.strictSame(isEnded(), [true, false], "all were ended");
  await subsystem.apply([stepFor(eip)], context, forever);
  t.strictSame(isEnded(), [true, false, true]);
});
