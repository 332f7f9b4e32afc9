/** The hub: changes get their sequence after they can be read, in parts, and readers are told soon. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { ConflictWatch } from "../../../../agent/events/conflict-watch.ts";
import { DegradedWatch } from "../../../../agent/events/degraded-watch.ts";
import { EventHub } from "../../../../agent/events/hub.ts";
import { PassEvents } from "../../../../agent/events/pass-events.ts";
import { runSync } from "../../../../lib/chunked.ts";
import { usersByEipChunked } from "../../../../lib/compile/references.ts";
import type { Change } from "../../../../lib/model/change.ts";
import type { Degradation } from "../../../../lib/model/degradation.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { type Kind, type ObjectId, objectId } from "../../../../lib/model/names.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../lib/state/state.ts";

const putOf = (kind: Kind, name: string, eip = "a") =>
  ({
    type: "put",
    kind,
    object: { spec: { name, eip }, revision: 1, creation: 1 },
  }) as unknown as StateChange;
const deleteOf = (kind: Kind, name: string) => ({ type: "delete", kind, name }) as StateChange;

function make() {
  let state = emptyState;
  let nowMs = 5_000;
  const hub = new EventHub({
    epoch: "e",
    start: 0,
    desired: () => state.desired,
    usersByEip: usersByEipChunked,
    nowMs: () => nowMs,
    wallMs: () => 0,
  });
  const store = (...changes: StateChange[]) => {
    state = reduce(state, changes);
    hub.onStored(changes);
  };
  const read = (after = 0) =>
    Array.from(hub.log.after(after), (event) => (event.type === "object" ? event.id : event.type));
  const reports: object[] = [];
  const reporter = {
    report: (type: string, data: object, about?: unknown) => reports.push({ type, data, about }),
  };
  return { hub, store, read, reports, reporter, pass: (ms: number) => (nowMs += ms) };
}

t.test("a write is an event of what was written, and of what uses a written Eip", async (t) => {
  const { hub, store, read } = make();
  store(putOf("fip", "f"), putOf("snat", "s", "b"));
  t.same(read(), ["fips/f", "snats/s"]);
  const before = hub.sequence;
  store(putOf("eip", "a"));
  t.same(read(before), ["eips/a", "fips/f"], "its users are Pending now");
  store(deleteOf("eip", "a"), deleteOf("snat", "s"), { type: "revision", revision: 3 });
  t.same(read(), ["eips/a", "snats/s", "fips/f"]);
  const last = hub.sequence;
  store({ type: "tombstone", key: "fip/u", untilMs: 1 });
  t.equal(hub.sequence, last);
});

t.test("many changes take turns, in their order", async (t) => {
  const { hub, store, read } = make();
  const names = Array.from({ length: 5_000 }, (_, index) => `fip-${index}`);
  store(...names.map((name) => putOf("fip", name)));
  t.equal(hub.sequence, 1_999, "the rest later");
  store(putOf("route", "r"));
  hub.onConditions([objectId("fip", "fip-0")]);
  while (hub.sequence < 5_002) await nextTurn();
  t.same(read().slice(-2), ["routes/r", "fips/fip-0"]);
  t.equal(read().length, 5_001);
});

t.test("readers are told once for many events", async (t) => {
  const { hub, read, pass } = make();
  let calls = 0;
  const told = new Promise<void>((resolve) => {
    hub.onEvents(() => {
      calls++;
      if (read().length === 3) resolve();
    });
  });
  for (const name of ["a", "b", "c"]) hub.onConditions([objectId("fip", name)]);
  await told;
  t.equal(calls, 1);
  t.equal(hub.sequenceAgo(0), 0, "the mark before these");
  pass(2_000);
  hub.report("pass", {});
  t.equal(hub.sequenceAgo(0), 4);
  t.equal(hub.sequenceAgo(2_000), 0);
  t.equal(hub.sequenceAgo(2_001), undefined);
  hub.stop();
});

t.test("an occurrence has the revision and the time", async (t) => {
  const { hub, store } = make();
  store(putOf("fip", "f"), { type: "revision", revision: 9 });
  hub.report("degraded", { degraded: [] });
  const [event] = hub.log.after(1);
  t.same(event?.type === "degraded" && JSON.parse(event.data), {
    revision: 9,
    time: "1970-01-01T00:00:00.000Z",
    degraded: [],
  });
  t.equal(hub.id, "e.2");
});

t.test("passes: drift, repairs, and what waits", async (t) => {
  const { reports, reporter } = make();
  const passes = new PassEvents(reporter as never);
  const change = (text: string, object?: ObjectId): Change => ({
    action: "add",
    subsystem: "rule",
    text,
    ...(object !== undefined && { object }),
  });
  const report = { startedAt: "s", took: 1, reasons: ["rule"], changed: 1, flowsRemoved: 0 };
  const result = { repairs: [], throttled: [], isClean: true, failures: [], state: emptyState };
  const run = (more: object) => {
    reports.length = 0;
    passes.onPass({ ...result, ...more } as never, report as never);
    return reports;
  };
  t.match(run({}), [{ type: "pass", data: { converged: true, failed: 0, generation: 0, ...report } }]);
  const repairs = [change("x", objectId("fip", "f")), change("y")];
  const listed = { total: 2, changes: repairs };
  const about = new Set(["fips/f"]);
  t.match(run({ repairs }), [
    { type: "drift", data: { ...listed, delayed: 0 }, about },
    { type: "repair", data: listed, about },
    { type: "pass" },
  ]);
  const throttled = [{ change: change("z"), repairs: 6, pauseMs: 500 }];
  t.match(run({ throttled }), [{ type: "drift", data: { total: 1, delayed: 1 } }, { type: "pass" }]);
  t.match(run({ throttled }), [{ type: "pass" }], "still the same drift");
  const many = Array.from({ length: 2_000 }, (_, index) => change(`${index}`, objectId("fip", `${index}`)));
  const [drift] = run({ repairs: many });
  t.match(drift, { data: { total: 2_000 }, about: "many" });
  t.equal((drift as { data: { changes: unknown[] } }).data.changes.length, 20);
  reports.length = 0;
  passes.onFailure(new GatewayError("unreadable", "cut short"));
  t.same(reports[0], {
    type: "pass",
    data: { converged: false, error: { code: "unreadable", message: "cut short" } },
    about: undefined,
  });
});

t.test("degraded reasons that come, change and go", async (t) => {
  const { reports, reporter } = make();
  let list: Degradation[] = [];
  const watch = new DegradedWatch(reporter as never, () => list);
  const look = (...next: [Degradation["reason"], string][]) => {
    reports.length = 0;
    list = next.map(([reason, message]) => ({ reason, message }));
    watch.look();
    return reports.map((report) => (report as { data: object }).data);
  };
  t.same(look(), []);
  t.match(look(["GateClosed", "m"]), [
    { degraded: [{ reason: "GateClosed" }], added: ["GateClosed"], removed: [] },
  ]);
  t.same(look(["GateClosed", "m"]), []);
  t.match(look(["GateClosed", "n"]), [{ degraded: [{ message: "n" }], added: [], removed: [] }]);
  t.match(look(["Fighting", "n"]), [{ added: ["Fighting"], removed: ["GateClosed"] }]);
  t.match(look(), [{ degraded: [], removed: ["Fighting"] }]);
});

t.test("conflicts of Eips begin and end", async (t) => {
  const { reports, reporter } = make();
  const messages = new Map<ObjectId, string>();
  const findReason = (id: ObjectId) => {
    const message = messages.get(id);
    return message === undefined ? undefined : { holds: false, reason: "AddressConflict" as const, message };
  };
  const watch = new ConflictWatch(reporter as never, () => ({ findReason }));
  const id = objectId("eip", "a");
  const look = () => {
    reports.length = 0;
    runSync(watch.onConditions([id, objectId("fip", "f")]));
    return reports;
  };
  t.same(look(), []);
  messages.set(id, "02:00 answers").set(objectId("fip", "f"), "its Eip");
  const facts = { kind: "Eip", name: "a", message: "02:00 answers" };
  t.same(look(), [{ type: "conflict", data: { ...facts, active: true }, about: new Set([id]) }]);
  t.same(look(), []);
  messages.delete(id);
  t.same(look(), [{ type: "conflict", data: { ...facts, active: false }, about: new Set([id]) }]);
});
