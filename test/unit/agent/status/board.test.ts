/** The status board: when an object is Ready, and when it no longer is. */

import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import type { PublishedPass } from "../../../../agent/reconciler/verdict-sink.ts";
import { StatusBoard } from "../../../../agent/status/board.ts";
import { runSync } from "../../../../lib/chunked.ts";
import type { ObjectName } from "../../../../lib/model/names.ts";
import { type Kind, type ObjectId, objectId } from "../../../../lib/model/names.ts";
import type { ConditionValue, ObjectVerdict } from "../../../../lib/model/status.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../lib/state/state.ts";

const forever = new AbortController().signal;

type Said = [Kind, string, ObjectVerdict];

/** A state with FIPs and their EIPs at revision 1, and the verdicts of a pass without any problem. */
function world() {
  let state: State = emptyState;
  const put = (
    kind: Kind,
    revision: number,
    spec: Record<string, unknown>,
    others: readonly StateChange[] = [],
  ): State => {
    const object = { spec, revision, creation: state.nextCreation };
    state = reduce(state, [
      { type: "put", kind, object } as unknown as StateChange,
      ...others,
      { type: "revision", revision },
    ]);
    return state;
  };
  const remove = (kind: Kind, name: string, revision: number) => {
    state = reduce(state, [
      { type: "delete", kind, name: name as ObjectName },
      { type: "revision", revision },
    ]);
  };
  put("eip", 1, { name: "a", address: "203.0.113.10/24" });
  put("fip", 1, { name: "f", eip: "a", internalIp: "10.0.1.5" });
  const board = new StatusBoard("epoch-1", () => state, "2026-01-01T00:00:00.000Z");
  const reading = (verdicts: readonly Said[]) => ({
    state,
    verdicts: new Map(verdicts.map(([kind, name, verdict]) => [objectId(kind, name), verdict])),
    verifiedAt: "2026-01-01T00:00:01.000Z",
  });
  const publish = (verdicts: readonly Said[], more: Partial<PublishedPass> = {}) =>
    runSync(board.publish({ ...reading(verdicts), isCleared: true, ...more }));
  const withdraw = (verdicts: readonly Said[]) => runSync(board.withdraw(reading(verdicts)));
  return { board, put, remove, publish, withdraw };
}

const yes: ConditionValue = { holds: true, reason: "Ready", message: "" };
const no: ConditionValue = { holds: false, reason: "EipNotFound", message: "eip a does not exist" };
const good: ObjectVerdict = { accepted: yes, programmed: yes, ready: yes, isSettled: false };
const waiting: ObjectVerdict = { accepted: yes, programmed: no, ready: no, isSettled: false };
const hopeless: ObjectVerdict = { ...waiting, isSettled: true };

t.test("a view keeps its times, whatever is published while it is read", async (t) => {
  const { board, publish } = world();
  const verdicts = new Map([[objectId("fip", "f"), good]]);
  publish([], { verdicts });
  const view = board.view();
  publish([], { verdicts, verifiedAt: "2026-01-01T00:00:02.000Z" });
  t.equal(view.statusOf("fips/f").verifiedAt, "2026-01-01T00:00:01.000Z");
  t.equal(board.statusOf("fips/f").verifiedAt, "2026-01-01T00:00:02.000Z");
});

t.test("nothing is Ready before a pass has said so", async (t) => {
  const { board } = world();
  const status = board.statusOf("fips/f");
  t.notOk(status.ready);
  t.equal(status.observedRevision, 0);
  t.equal(status.epoch, "epoch-1");
  t.match(status.conditions[2], { type: "Ready", status: "False", reason: "Pending" });
  t.notOk("verifiedAt" in status);
});

t.test("a write makes the object and the users of its Eip not Ready at once", async (t) => {
  const { board, put, publish } = world();
  publish([
    ["eip", "a", good],
    ["fip", "f", good],
  ]);
  t.ok(board.statusOf("fips/f").ready);
  t.strictSame(board.statusOf("eips/a").usedBy, ["fips/f"]);
  t.strictSame(runSync(board.view().counts()).fips, { total: 1, ready: 1, notReady: 0 });
  put("fip", 2, { name: "f", eip: "a", internalIp: "10.0.1.6" });
  t.notOk(board.statusOf("fips/f").ready, "the object itself was written");
  t.equal(board.statusOf("fips/f").observedRevision, 1);
  t.ok(board.statusOf("eips/a").ready, "its Eip was not");
  publish([
    ["eip", "a", good],
    ["fip", "f", good],
  ]);
  put("eip", 3, { name: "a", address: "203.0.113.11/24" });
  t.notOk(board.statusOf("fips/f").ready, "the Eip was written");
});

t.test("a condition keeps the time of its last change", async (t) => {
  const { board, publish } = world();
  publish([["fip", "f", good]], { verifiedAt: "2026-01-01T00:00:01.000Z" });
  publish([["fip", "f", good]], { verifiedAt: "2026-01-01T00:00:02.000Z" });
  const { verifiedAt, conditions } = board.statusOf("fips/f");
  t.equal(verifiedAt, "2026-01-01T00:00:02.000Z");
  t.equal(conditions[2]?.lastTransitionTime, "2026-01-01T00:00:01.000Z");
  publish([["fip", "f", waiting]], { verifiedAt: "2026-01-01T00:00:03.000Z" });
  t.equal(board.statusOf("fips/f").conditions[2]?.lastTransitionTime, "2026-01-01T00:00:03.000Z");
});

t.test("since when: what was written is Pending since then, whenever a pass looks at it", async (t) => {
  const { board, put, publish } = world();
  const at = (second: number) => `2026-01-01T00:00:0${second}.000Z`;
  const write = (second: number, ...given: Parameters<typeof put>) =>
    board.noteWrite(put(...given), at(second));
  const times = (id: ObjectId) =>
    board.statusOf(id).conditions.map(({ status, lastTransitionTime }) => `${status} ${lastTransitionTime}`);
  const all = (fip = good): readonly Said[] => [
    ["eip", "a", good],
    ["fip", "f", fip],
  ];
  const fip = { name: "f", eip: "a", internalIp: "10.0.1.5" };
  t.same(times("fips/f"), [`True ${at(0)}`, `False ${at(0)}`, `False ${at(0)}`], "there since the start");
  publish(all(), { verifiedAt: at(1) });
  t.same(times("fips/f"), [`True ${at(0)}`, `True ${at(1)}`, `True ${at(1)}`]);
  write(2, "fip", 2, { ...fip, internalIp: "10.0.1.6" });
  t.same(
    times("fips/f"),
    [`True ${at(0)}`, `False ${at(2)}`, `False ${at(2)}`],
    "written, and not looked at",
  );
  write(3, "eip", 3, { name: "a", address: "203.0.113.11/24" });
  t.same(times("fips/f")[2], `False ${at(2)}`, "Pending before its Eip was written, too");
  t.same(times("eips/a")[2], `False ${at(3)}`);
  publish(all(waiting), { verifiedAt: at(4) });
  t.same(times("fips/f"), [`True ${at(0)}`, `False ${at(2)}`, `False ${at(2)}`], "not Ready all the time");
  t.same(times("eips/a")[2], `True ${at(4)}`, "Ready anew");
  publish(all(), { verifiedAt: at(5) });
  write(6, "eip", 4, { name: "a", address: "203.0.113.12/24" });
  t.same(times("fips/f")[2], `False ${at(6)}`, "its Eip was written");
  publish(all(), { verifiedAt: at(7) });
  t.same(times("fips/f")[2], `True ${at(7)}`);
  write(8, "fip", 5, { ...fip, name: "new" });
  t.same(times("fips/new"), [`True ${at(8)}`, `False ${at(8)}`, `False ${at(8)}`]);
  publish([...all(), ["fip", "new", good]], { verifiedAt: at(9) });
  t.same(times("fips/new"), [`True ${at(8)}`, `True ${at(9)}`, `True ${at(9)}`]);
});

t.test("a pass that did not finish takes Ready away and makes nothing Ready", async (t) => {
  const { board, publish, withdraw } = world();
  const whole = {
    verdicts: new Map<ObjectId, ObjectVerdict>([
      ["eips/a", good],
      ["fips/f", waiting],
    ]),
  };
  publish([], whole);
  withdraw([
    ["eip", "a", waiting],
    ["fip", "f", good],
  ]);
  t.match(board.statusOf("eips/a").conditions[2], { status: "False", reason: "EipNotFound" });
  t.notOk(board.statusOf("fips/f").ready);
  withdraw([["eip", "a", good]]);
  t.notOk(board.statusOf("eips/a").ready, "it is not given back so");
  publish([], whole);
  t.ok(board.statusOf("eips/a").ready, "but by the next pass that finds all as before");
});

t.test("waiting ends", async (t) => {
  const ready: ObjectId[] = ["fips/f"];
  const goals = { ready, gone: [] as ObjectId[], revision: 1 };
  const ask = (board: StatusBoard, more = {}, ms = 60_000) => board.wait({ ...goals, ...more }, ms, forever);

  t.test("done, when a pass of that revision says so", async (t) => {
    const { board, publish } = world();
    const answer = ask(board);
    publish([["fip", "f", waiting]]);
    publish([["fip", "f", good]]);
    t.equal(await answer, "done");
    t.equal(await ask(board), "done", "at once where it is so already");
  });
  t.test("settled, if no later pass can change the result", async (t) => {
    const { board, publish } = world();
    const answer = ask(board);
    publish([["fip", "f", hopeless]]);
    t.equal(await answer, "settled");
  });
  t.test("settled, when a later write took the object away", async (t) => {
    const { board, publish, remove } = world();
    const answer = ask(board);
    remove("fip", "f", 2);
    publish([]);
    t.equal(await answer, "settled");
  });
  t.test("not by a pass that began before the write", async (t) => {
    const { board, put, publish } = world();
    publish([["fip", "f", good]]);
    put("fip", 2, { name: "f", eip: "a", internalIp: "10.0.1.6" });
    t.equal(await ask(board, { revision: 2 }, 5), "timeout");
  });
  t.test("for a removed object, only when nothing is left to remove", async (t) => {
    const { board, remove, publish } = world();
    remove("fip", "f", 2);
    const answer = ask(board, { ready: [], gone: ready, revision: 2 });
    publish([["eip", "a", good]], { isCleared: false });
    publish([["eip", "a", good]], { isCleared: true });
    t.equal(await answer, "done");
  });
  t.test("for Programmed, whether or not the object is Ready", async (t) => {
    const { board, publish } = world();
    const answer = ask(board, { ready: [], programmed: ready });
    publish([["fip", "f", { ...good, programmed: no }]]);
    publish([["fip", "f", { ...good, ready: no, isSettled: true }]]);
    t.equal(await answer, "done");
    publish([["fip", "f", hopeless]]);
    t.equal(await ask(board, { ready: [], programmed: ready }), "settled");
  });
  t.test("when the agent stops", async (t) => {
    const { board } = world();
    const answer = ask(board);
    board.stop();
    t.equal(await answer, "stopping");
  });
});

t.test("the results of thousands of objects are published in chunks, and announced at the end", async (t) => {
  const { board, put } = world();
  const names = Array.from({ length: 12_000 }, (_, index) => `many-${index}`);
  const changes = names.map((name, creation) => {
    const spec = { name, address: "203.0.113.11/24" };
    return { type: "put", kind: "eip", object: { spec, revision: 1, creation } } as unknown as StateChange;
  });
  const state = put("eip", 1, { name: "b", address: "203.0.113.12/24" }, changes);
  const ids = names.map((name) => objectId("eip", name));
  const outcome = board.wait({ ready: ids, gone: [], revision: 1 }, 60_000, forever);
  let isTold = false;
  void outcome.then(() => {
    isTold = true;
  });
  const verdicts = new Map(ids.map((id) => [id, good]));
  const parts = board.publish({ state, verdicts, verifiedAt: "2026-01-01T00:00:01.000Z", isCleared: true });
  let pauses = 0;
  while (!parts.next().done) {
    pauses++;
    await nextTurn();
    t.notOk(isTold);
  }
  t.ok(pauses >= 3, `${pauses} pauses`);
  t.equal(await outcome, "done");
});

t.test("a view stays as it was, whatever is written and published meanwhile", async (t) => {
  const { board, put, remove, publish } = world();
  publish([
    ["eip", "a", good],
    ["fip", "f", good],
  ]);
  const view = board.view();
  const before = JSON.stringify([view.statusOf("eips/a"), view.statusOf("fips/f")]);
  const told = () => JSON.stringify([view.statusOf("eips/a"), view.statusOf("fips/f")]);
  put("fip", 2, { name: "f", eip: "a", internalIp: "10.0.1.6" });
  t.equal(told(), before, "after a write");
  publish([
    ["eip", "a", hopeless],
    ["fip", "f", hopeless],
  ]);
  t.equal(told(), before, "after a pass");
  const verdicts = new Map([["eips/a", waiting]] as const);
  runSync(board.withdraw({ state: view.state, verdicts, verifiedAt: "later" }));
  t.equal(told(), before, "after a pass that failed");
  remove("fip", "f", 3);
  publish([["eip", "a", good]]);
  t.equal(told(), before, "after a removal");
  t.notOk(board.view().isObjectReady("fips/f"));
});

t.test("the results of a pass become visible together", async (t) => {
  const count = 12_000;
  let state: State = emptyState;
  const puts = Array.from({ length: count }, (_, index): unknown => ({
    type: "put",
    kind: "eip",
    object: {
      spec: { name: `e${index}`, address: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/32` },
      revision: 1,
      creation: index + 1,
    },
  }));
  state = reduce(state, [...(puts as StateChange[]), { type: "revision", revision: 1 }]);
  const board = new StatusBoard("epoch-1", () => state, "2026-01-01T00:00:00.000Z");
  const verdicts = new Map([...state.desired.eips.keys()].map((name) => [objectId("eip", name), good]));
  const parts = board.publish({ state, verdicts, verifiedAt: "now", isCleared: true });
  let pauses = 0;
  while (!parts.next().done) {
    pauses++;
    t.equal(runSync(board.view().counts()).eips?.ready, 0);
  }
  t.ok(pauses >= 2, `${pauses} pauses`);
  t.equal(runSync(board.view().counts()).eips?.ready, count);
});

t.test("the listener hears of every object whose status changed, when it can be read", async (t) => {
  const { board, put, remove, publish, withdraw } = world();
  const heard: [readonly ObjectId[], boolean][] = [];
  board.onConditions((ids) => heard.push([ids, board.view().isObjectReady(objectId("fip", "f"))]));
  const take = () => heard.splice(0).filter(([ids]) => ids.length > 0);
  const all: Said[] = [
    ["eip", "a", good],
    ["fip", "f", good],
  ];
  publish(all);
  t.same(take(), [[["eips/a", "fips/f"], true]], "the new statuses are readable");
  publish(all);
  t.same(take(), [], "a later reading alone is no change");
  withdraw([
    ["eip", "a", good],
    ["fip", "f", waiting],
  ]);
  t.same(take(), [[["fips/f"], false]]);
  publish(all);
  t.same(take(), [[["fips/f"], true]]);
  const reworded = { ...good, ready: { ...yes, message: "another" } };
  publish([
    ["eip", "a", good],
    ["fip", "f", reworded],
  ]);
  t.same(take(), [[["fips/f"], true]], "another message");
  put("eip", 2, { name: "a", address: "203.0.113.11/24" });
  publish([
    ["eip", "a", good],
    ["fip", "f", reworded],
  ]);
  t.same(take(), [[["eips/a", "fips/f"], true]], "both were Pending since the write, and are Ready again");
  publish([["eip", "a", good]]);
  t.same(take(), [[["fips/f"], false]], "nothing is known of it any more");
  remove("eip", "a", 3);
  publish([]);
  t.same(take(), [], "the store tells of what was deleted");
});
