import t from "tap";
import type { ConntrackDriver } from "../../../../../agent/kernel/drivers.ts";
import {
  type IncrementalDeps,
  IncrementalPass,
} from "../../../../../agent/reconciler/incremental/incremental-pass.ts";
import type { PassResult } from "../../../../../agent/reconciler/pass/pass-result.ts";
import { UncheckedObjects } from "../../../../../agent/reconciler/subsystems/unchecked-objects.ts";
import { TimeLimits } from "../../../../../agent/reconciler/time-limits.ts";
import { compile } from "../../../../../lib/compile/compile.ts";
import { type Flow, viewOf } from "../../../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { ObjectName } from "../../../../../lib/model/names.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import { noObstacles, type Obstacles } from "../../../../../lib/plan/subsystem.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../../lib/state/state.ts";
import { flow as labFlow, network as labNetwork } from "../../../../support/conntrack-samples.ts";
import { countIteratedEntries } from "../../../../support/iterated-entries.ts";
import { compileContext, put } from "../../../../support/small-sets.ts";

const forever = new AbortController().signal;

t.test("an incremental pass ends the flows that its change contradicts", async (t) => {
  const without = reduce(emptyState, [
    put("eip", { name: "e", address: "203.0.113.10/24" }, 1),
    put("snat", { name: "s", eip: "e", internalCIDR: "10.0.1.0/24" }, 2),
  ]);
  const withFip = reduce(without, [put("fip", { name: "f", eip: "e", internalIp: "10.0.1.5" }, 3)]);
  const base = {
    isClean: true,
    hasVerifiedRules: true,
    failures: [],
    blocked: new Map(),
    snapshot: {
      facts: { network: labNetwork },
      unread: new Map(),
      observed: new Map([["reach", "a reading"]]),
    },
    verdicts: new Map([["eips/e", { ready: { holds: true } }]]),
    planAfter: {
      program: { family: ipv4, eips: [], fips: [], dnats: [], pools: [] },
      parts: new Map(),
      context: { addressConflicts: new Map() },
      compileContext,
    },
  } as unknown as PassResult;
  const change = { action: "add", subsystem: "rule", text: "a rule", object: "fips/f" } as const;
  let isWritten = false;
  let noRoute = false;
  let mayOpen = false;
  let bootMs = 0;
  const reach = {
    name: "reach",
    obstaclesTo: ({ fips }: Program, observed: unknown): Obstacles => {
      t.equal(observed, "a reading");
      const obstacle = { condition: "Ready", reason: "NoRoute", message: "" } as const;
      return { ...noObstacles, objects: new Map(noRoute ? fips.map(({ id }) => [id, obstacle]) : []) };
    },
  };
  const dataplane = {
    driver: {
      write: async () => {
        isWritten = true;
        return { kind: "done" };
      },
      incremental: { base: async () => ({}), verify: async () => ({}) },
    },
    planner: { planPart: () => ({ changes: isWritten ? [] : [change], payload: undefined }) },
  };
  const play = async (conntrack: ConntrackDriver, [from, to] = [without, withFip]) => {
    isWritten = false;
    const unchecked = new UncheckedObjects();
    unchecked.clear({ revision: 2, blocked: new Map() });
    const clock = { instant: () => ({ bootId: "b", bootMs, wallMs: 0 }) };
    const subsystems = [{ planner: reach }];
    const timeLimits = new TimeLimits();
    const gatekeeper = { mayOpen: () => mayOpen };
    const reasons: string[] = [];
    const onFullPass = (reason: string) => void reasons.push(reason);
    const deps = { dataplane, subsystems, conntrack, clock, timeLimits, unchecked, gatekeeper, onFullPass };
    const pass = new IncrementalPass(deps as unknown as IncrementalDeps);
    pass.onFullPassStart();
    pass.note([{ type: "delete", kind: "fip", name: "f" as ObjectName }]);
    const found = await pass.run(
      { reasons: ["write"], isResync: false },
      to,
      { ...base, state: { ...from, isSet: true } },
      forever,
    );
    t.equal(reasons.length, found === undefined ? 1 : 0, "a full pass has a reason");
    return { found, unchecked: [...unchecked.objects.keys()] };
  };

  const stale = labFlow("udp 198.51.100.7:4000 203.0.113.10:53");
  const plain = labFlow("udp 10.0.1.5:4000 198.51.100.7:53");
  const inward = labFlow("udp 198.51.100.7:4001 203.0.113.10:53 | 10.0.1.5:53 198.51.100.7:4001");
  const flows = [
    stale,
    plain,
    inward,
    // Translated by the FIP or by the SNAT. The change does not affect it.
    labFlow("udp 10.0.1.5:4002 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:4002"),
    // Contradicts the set too, but did so before: left to the sweeps of full passes.
    labFlow("udp 10.0.1.6:4003 198.51.100.7:53"),
  ];
  let removed: readonly Flow[] = [];
  const driver: ConntrackDriver = {
    find: async (matches, limit, _signal, ends) => {
      t.ok(isWritten, "the rules come first");
      t.strictSame(ends?.length, 2);
      const found = flows.filter((flow) => matches(viewOf(flow, ipv4)));
      return { flows: found.slice(0, limit), total: found.length };
    },
    remove: async (doomed) => {
      removed = doomed;
      return { removed: doomed.length };
    },
    readStats: async () => ({ count: flows.length, max: 1_000 }),
  };
  const ended = await play(driver);
  t.strictSame(removed, [stale, plain]);
  t.strictSame(ended.found?.sweep, { removed: 2, remaining: [], shadowed: 0 });
  t.ok(ended.found?.verdicts.get("fips/f")?.ready.holds);
  t.strictSame(ended.unchecked, []);

  noRoute = true;
  const astray = await play(driver);
  t.match(astray.found?.verdicts.get("fips/f"), {
    programmed: { holds: true },
    ready: { reason: "NoRoute" },
  });
  noRoute = false;

  const { found } = await play(driver, [withFip, without]);
  t.strictSame([removed, found?.sweep.removed], [[plain, inward], 2], "what another object permits stays");

  mayOpen = true;
  t.strictSame(await play(driver), { found: undefined, unchecked: [] }, "only a full pass opens a gate");
  t.notOk(isWritten);
  mayOpen = false;

  const renewed = { bootId: "b", bootMs: 0, wallMs: 0 };
  const leased = [without, withFip].map((state) =>
    reduce(state, [
      put("eip", { name: "l", address: "203.0.113.11/24", leaseSeconds: 60 }, 4),
      { type: "lease", name: "l" as ObjectName, renewed },
    ]),
  ) as [State, State];
  t.ok((await play(driver, leased)).found, "while the lease lasts");
  bootMs = 60_000;
  t.strictSame(await play(driver, leased), { found: undefined, unchecked: [] }, "a lease has run out");
  t.notOk(isWritten);
  bootMs = 0;

  const none = await play({ ...driver, find: async () => ({ flows: [], total: 0 }) });
  t.strictSame(none.found?.sweep.removed, 0);
  const broken = new GatewayError("netlink-failed", "a dump was cut short");
  for (const [why, fails] of Object.entries({
    "the table cannot be read": { find: () => Promise.reject(broken) },
    "a flow cannot be deleted": { remove: () => Promise.reject(broken) },
    "there are too many": { find: async () => ({ flows: [], total: 1 }) },
  })) {
    t.strictSame(
      await play({ ...driver, ...fails }),
      { found: undefined, unchecked: ["fips/f"] },
      `${why}: a whole pass is asked for, and until it swept nothing is Ready`,
    );
  }
  await t.rejects(play({ ...driver, find: () => Promise.reject(new RangeError("a bug")) }), /a bug/);
});

t.test("one change after another among thousands: a pass looks at what the change affects", async (t) => {
  const count = 2_000;
  const ipOf = (at: number) => `${at >> 8}.${at & 255}`;
  const eips = Array.from({ length: count }, (_, at) =>
    put("eip", { name: `e${at}`, address: `198.18.${ipOf(at)}/16` }, at + 1),
  );
  const fip = (at: number, net = "10.0") =>
    put("fip", { name: `f${at}`, eip: `e${at}`, internalIp: `${net}.${ipOf(at)}` }, count + at + 1);
  let state: State = reduce(emptyState, [...eips, ...Array.from({ length: count }, (_, at) => fip(at))]);
  let writes = 0;
  const planner = {
    planPart: () => ({ changes: writes === 0 ? [{}] : [], payload: undefined }),
  };
  const driver = {
    write: async () => {
      writes++;
      return { kind: "done" };
    },
    incremental: {
      base: async () => ({}),
      verify: async () => ({}),
    },
  };
  const pass = new IncrementalPass({
    dataplane: { driver, planner },
    subsystems: [],
    conntrack: { find: async () => ({ flows: [], total: 0 }) },
    clock: { instant: () => ({ bootId: "b", bootMs: 0, wallMs: 0 }) },
    timeLimits: new TimeLimits(),
    unchecked: { add() {}, clear() {} },
    gatekeeper: { mayOpen: () => false },
    onFullPass: (reason: string) => t.fail(reason),
  } as unknown as IncrementalDeps);
  pass.onFullPassStart();
  const planAfter = {
    program: compile(state.desired, compileContext).program,
    parts: new Map(),
    context: { addressConflicts: new Map() },
    compileContext,
  };
  const iterated = countIteratedEntries(t);
  for (const at of [7, 8, 9, 10]) {
    const change = fip(at, "10.9");
    const after = { ...reduce(state, [change]), isSet: true };
    const base = {
      state: { ...state, isSet: true },
      isClean: true,
      hasVerifiedRules: true,
      failures: [],
      blocked: new Map(),
      snapshot: { facts: { network: labNetwork }, unread: new Map(), observed: new Map() },
      verdicts: new Map([[`eips/e${at}`, { ready: { holds: true } }]]),
      planAfter,
    } as unknown as PassResult;
    pass.note([change]);
    writes = 0;
    iterated();
    const found = await pass.run({ reasons: ["write"], isResync: false }, after, base, forever);
    t.strictSame(found?.affected, new Set([`fips/f${at}`, `eips/e${at}`]));
    const looks = iterated();
    if (at > 7) t.ok(looks <= 40, `${looks} of ${2 * count} objects`);
    else t.ok(looks <= 4 * count, `the first one, which makes the indexes: ${looks}`);
    state = after;
  }
});
