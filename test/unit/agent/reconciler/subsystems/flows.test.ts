import t from "tap";
import type { Clock } from "../../../../../agent/clock.ts";
import type { ApplyContext } from "../../../../../agent/reconciler/subsystem.ts";
import { FlowSubsystem } from "../../../../../agent/reconciler/subsystems/flows.ts";
import type { Flow } from "../../../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import type { FlowSweepStep } from "../../../../../lib/plan/flows.ts";
import type { Step } from "../../../../../lib/plan/subsystem.ts";
import { emptyState } from "../../../../../lib/state/state.ts";
import { flow as labFlow } from "../../../../support/conntrack-samples.ts";

const forever = new AbortController().signal;
const ip = (text: string) => text as Ip;
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

function stepFor(asked: ReadonlySet<Ip>[] = []): Step<FlowSweepStep> {
  const payload: FlowSweepStep = {
    program: {} as Program,
    leaving: () => new Set([ip("203.0.113.10")]),
    contradicts: (leaving) => {
      asked.push(leaving);
      return () => true;
    },
  };
  return { phase: "flows", changes: [], payload };
}

t.test("after a sweep that found something, only the timer starts another one", async (t) => {
  let flows: readonly Flow[] = [
    labFlow("udp 198.51.100.7:4000 203.0.113.10:53 | 10.0.1.5:53 198.51.100.7:4000"),
  ];
  const flowsSubsystem = new FlowSubsystem(
    {
      find: async () => ({ flows, total: flows.length }),
      remove: async () => ({ removed: flows.length }),
    },
    clock,
  );
  const isDue = async (reason: string) =>
    (await flowsSubsystem.observe(forever, { isResync: true, reasons: [reason] })).isDue;
  for (const isFound of [true, false]) {
    await flowsSubsystem.apply([stepFor()], context, forever);
    t.notOk(await isDue("api"), "once a pass");
    flowsSubsystem.onPassEnd({ isDone: true });
    t.equal(await isDue("timer"), isFound);
    t.ok(await isDue("api"), "who asks gets one");
    flows = [];
  }
});

t.test("after a failed sweep the changed objects are not Ready, and their EIPs stay retired", async (t) => {
  let isBroken = true;
  const subsystem = new FlowSubsystem(
    {
      find: async () => {
        if (isBroken) throw new GatewayError("netlink-failed", "ENOBUFS");
        return { flows: [], total: 0 };
      },
      remove: async () => ({ removed: 0 }),
    },
    clock,
  );
  await t.rejects(subsystem.apply([stepFor()], context, forever), /ENOBUFS/);
  const { unchecked } = await subsystem.observe(forever, { isResync: false, reasons: [] });
  t.match(unchecked.get("fips/f"), /could not be checked: ENOBUFS/);
  subsystem.onPassEnd({ isDone: false });
  isBroken = false;
  const asked: ReadonlySet<Ip>[] = [];
  const later = stepFor(asked);
  const step = { ...later, payload: { ...later.payload, leaving: () => new Set<Ip>() } };
  await subsystem.apply([step], context, forever);
  t.strictSame(asked, [new Set([ip("203.0.113.10")])]);
  t.equal((await subsystem.observe(forever, { isResync: false, reasons: [] })).unchecked.size, 0);
  subsystem.onPassEnd({ isDone: true });
  await subsystem.apply([step], context, forever);
  t.strictSame(asked[1], new Set(), "all were ended");
});
