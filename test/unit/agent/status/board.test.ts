/** The status board and the judge: when Ready may be said, and when it must be taken back; and what is wrong with a gateway. */

import { readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { type PublishedPass, StatusBoard } from "../../../../agent/status/board.ts";
import { degradations, degradedReasons } from "../../../../agent/status/degradations.ts";
import type { SummaryDeps } from "../../../../agent/status/summary.ts";
import type { Recovery } from "../../../../agent/store/recovery.ts";
import { runSync } from "../../../../lib/chunked.ts";
import { compile } from "../../../../lib/compile/compile.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { InterfaceName, ObjectName } from "../../../../lib/model/names.ts";
import { type Kind, type ObjectId, objectId } from "../../../../lib/model/names.ts";
import { reduce } from "../../../../lib/model/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../lib/model/state.ts";
import type { Claim, Verdict } from "../../../../lib/model/status.ts";
import type { Unrecognized } from "../../../../lib/model/unrecognized.ts";
import { type Evidence, judge } from "../../../../lib/plan/judge.ts";

const forever = new AbortController().signal;

type Said = [Kind, string, Verdict];

/** A state of FIPs and their EIPs at revision 1, and what a pass says when all is well. */
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
    runSync(board.publish({ ...reading(verdicts), isClean: true, ...more }));
  const withdraw = (verdicts: readonly Said[]) => board.withdraw(reading(verdicts));
  return { board, put, remove, publish, withdraw };
}

const yes: Claim = { holds: true, reason: "Ready", message: "" };
const no: Claim = { holds: false, reason: "EipNotFound", message: "eip a does not exist" };
const good: Verdict = { accepted: yes, programmed: yes, ready: yes, isSettled: false };
const waiting: Verdict = { accepted: yes, programmed: no, ready: no, isSettled: false };
const hopeless: Verdict = { ...waiting, isSettled: true };

t.test("nothing is Ready before a pass has said so", async (t) => {
  const { board } = world();
  const status = board.statusOf("fips/f");
  t.notOk(status.ready);
  t.equal(status.observedRevision, 0);
  t.equal(status.epoch, "epoch-1");
  t.match(status.conditions[2], { type: "Ready", status: "False", reason: "Pending" });
  t.notOk("verifiedAt" in status);
});

t.test("a write takes Ready back at once, from the object and from what its Eip carries", async (t) => {
  const { board, put, publish } = world();
  publish([
    ["eip", "a", good],
    ["fip", "f", good],
  ]);
  t.ok(board.statusOf("fips/f").ready);
  t.strictSame(board.statusOf("eips/a").usedBy, ["fips/f"]);
  t.strictSame(board.counts().fips, { total: 1, ready: 1, notReady: 0 });
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

t.test("a pass that came to no end takes Ready away and gives it to nothing", async (t) => {
  const { board, publish, withdraw } = world();
  const whole = {
    verdicts: new Map<ObjectId, Verdict>([
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
  t.test("settled, when nothing more is to be hoped for", async (t) => {
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
  t.test("for what is gone, only once nothing is left to remove", async (t) => {
    const { board, remove, publish } = world();
    remove("fip", "f", 2);
    const answer = ask(board, { ready: [], gone: ready, revision: 2 });
    publish([["eip", "a", good]], { isClean: false });
    publish([["eip", "a", good]], { isClean: true });
    t.equal(await answer, "done");
  });
  t.test("when the agent stops", async (t) => {
    const { board } = world();
    const answer = ask(board);
    board.stop();
    t.equal(await answer, "stopping");
  });
});

t.test("the judge", async (t) => {
  const context = {
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
    ownAddresses: new Set<never>(),
    expiredLeases: new Set<never>(),
    addressConflicts: new Map(),
    quarantined: new Map(),
    missingInterfaces: new Set<never>(),
  };
  let state: State = emptyState;
  const specs: [Kind, Record<string, unknown>][] = [
    ["eip", { name: "a", address: "203.0.113.10/24" }],
    ["fip", { name: "f", eip: "a", internalIp: "10.0.1.5" }],
    ["snat", { name: "s", eip: "a", internalCIDR: "10.0.1.7/32" }],
    ["snat", { name: "s2", eip: "a", internalCIDR: "10.0.1.0/24" }],
    ["dnat", { name: "absent", eip: "nobody", protocol: "tcp", externalPort: 80, backends: [] }],
    ["route", { name: "r", destination: "10.0.0.0/16", via: "10.0.1.1" }],
  ];
  for (const [kind, spec] of specs) {
    const object = { spec, revision: 1, creation: state.nextCreation };
    state = reduce(state, [{ type: "put", kind, object } as unknown as StateChange]);
  }
  const compiled = compile(state.desired, context);
  const evidence = (more: Partial<Evidence> = {}): Evidence => ({
    missing: new Map(),
    contested: new Map(),
    contradicted: new Map(),
    isForwarding: true,
    isHeldBack: false,
    ...more,
  });
  const readyUnder = (more: Partial<Evidence>) => {
    const verdicts = judge(state.desired, compiled, evidence(more));
    t.equal(verdicts.size, specs.length, "a verdict for every object");
    return [...verdicts].filter(([, { ready }]) => ready.holds).map(([id]) => id);
  };
  const all = ["eips/a", "fips/f", "snats/s", "snats/s2", "routes/r"];
  t.strictSame(readyUnder({}), all, "all but what refers to nothing");
  t.strictSame(
    readyUnder({ missing: new Map([["fips/f", "no rule"]]) }),
    all.filter((id) => id !== "fips/f"),
  );
  t.strictSame(
    readyUnder({ missing: new Map([["eips/a", "no address"]]) }),
    ["routes/r"],
    "users wait for their Eip",
  );
  t.strictSame(
    readyUnder({ isForwarding: false }),
    ["eips/a", "routes/r"],
    "what translates needs forwarding",
  );
  t.strictSame(readyUnder({ isHeldBack: true }), ["eips/a", "routes/r"], "and an open gate");
  t.strictSame(
    readyUnder({ contradicted: new Map([["fips/f", "1 live flow"]]) }),
    all.filter((id) => id !== "fips/f"),
    "a flow of old keeps its FIP from being Ready",
  );
  const quarantined = compile(state.desired, { ...context, quarantined: new Map([["fips/f", "EINVAL"]]) });
  const verdict = judge(state.desired, quarantined, evidence()).get("fips/f");
  t.match(verdict, {
    accepted: { holds: true },
    ready: { holds: false, reason: "Quarantined", message: "EINVAL" },
  });
  t.ok(verdict?.isSettled, "who waits for it is answered");

  const claimed = new Map([["eips/a" as ObjectId, "02:00:00:00:00:99 claims 203.0.113.10 too"]]);
  t.strictSame(readyUnder({ contested: claimed }), ["routes/r"], "what somebody else claims is not Ready");
  const contested = judge(state.desired, compiled, evidence({ contested: claimed }));
  t.match(contested.get("eips/a" as ObjectId), {
    programmed: { holds: true },
    ready: { reason: "AddressConflict", message: /^02:00:00:00:00:99/ },
    isSettled: true,
  });
  t.match(contested.get("fips/f" as ObjectId), {
    programmed: { holds: true },
    ready: { reason: "EipNotReady" },
    isSettled: true,
  });
});

t.test("docs/api.md lists exactly the reasons for which a gateway is degraded", async (t) => {
  const text = readFileSync("docs/api.md", "utf8");
  const table = text.slice(text.indexOf("`natgw_degraded`"), text.indexOf("Every read of the desired set"));
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  const documented = rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`(\w+)`/g)]);
  t.strictSame(documented.map(([, reason]) => reason).sort(), degradedReasons.toSorted());
});

t.test("a gateway that nobody looked at is not whole", async (t) => {
  const parts = (failure?: GatewayError) =>
    ({
      interfaces: { vpc: "eth0", external: "net1" },
      store: { current: emptyState, recovery: { recovered: "fresh" }, failure: undefined },
      reconciler: { findings: undefined, failure },
    }) as unknown as SummaryDeps;
  const reasons = (failure?: GatewayError) => degradations(parts(failure)).map(({ reason }) => reason);
  t.strictSame(reasons(), ["NotVerified"]);
  t.strictSame(reasons(new GatewayError("unreadable", "cut short")), ["PassFailing"]);
  t.strictSame(reasons(new GatewayError("mixed-variants", "both")), ["MixedVariants"]);
});

t.test("what a newer version stored is named for as long as it is kept", async (t) => {
  const listed = (recovery: Recovery, unrecognized: Partial<Unrecognized>) => {
    const current = { ...emptyState, unrecognized: { ...emptyState.unrecognized, ...unrecognized } };
    const parts = { store: { current, recovery, failure: undefined }, reconciler: {} };
    return degradations(parts as unknown as SummaryDeps);
  };
  const parts = Array.from({ length: 7 }, (_, index) => ({ path: `member-${index}`, count: index }));
  const recovery: Recovery = { recovered: "intact", detail: "", unrecognized: parts };
  const [first] = listed(recovery, { members: { "member-0": 1 } });
  t.match(first, {
    reason: "StateFromNewerVersion",
    message: /kept: member-0 \(0\), .*member-4 \(4\) and more$/,
  });
  for (const rest of [{ collections: { a: [] } }, { ledger: { a: 1 } }, { changes: [{ type: "a" }] }])
    t.match(listed(recovery, rest)[0], { reason: "StateFromNewerVersion" });
  t.strictSame(
    listed(recovery, {}).map(({ reason }) => reason),
    ["NotVerified"],
    "until writes have replaced all of it",
  );
  const [tooNew] = listed({ recovered: "too-new", detail: "of format 9" }, {});
  t.strictSame(tooNew, { reason: "StateTooNew", message: "of format 9" });
});

t.test("what thousands of objects have become is published in parts, and told at the end", async (t) => {
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
  const parts = board.publish({ state, verdicts, verifiedAt: "2026-01-01T00:00:01.000Z", isClean: true });
  let pauses = 0;
  while (!parts.next().done) {
    pauses++;
    await nextTurn();
    t.notOk(isTold);
  }
  t.ok(pauses >= 3, `${pauses} pauses`);
  t.equal(await outcome, "done");
});
