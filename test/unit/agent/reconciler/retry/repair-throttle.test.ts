/** Repairs that somebody undoes: when they wait, how long, and that nothing else does. */
import t from "tap";
import type { Refusal } from "../../../../../agent/reconciler/pass/failures.ts";
import type { Outlook } from "../../../../../agent/reconciler/pass/outlook.ts";
import { Drift } from "../../../../../agent/reconciler/retry/drift.ts";
import {
  calmMs,
  keyOf,
  maxQuickRepairs,
  RepairThrottle,
  windowMs,
} from "../../../../../agent/reconciler/retry/repair-throttle.ts";
import type { Change } from "../../../../../lib/model/change.ts";
import { parseIpv4 } from "../../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import { type AddressStep, describeAddressStep } from "../../../../../lib/plan/network/addresses.ts";

const rule = (text: string): Change => ({ action: "add", subsystem: "rule", text });
const address = (text: string): AddressStep => {
  const parsed = parseIpv4(text);
  if (parsed === undefined) throw new Error(text);
  const entry = { interface: "net1" as InterfaceName, address: parsed, prefixLength: 24 };
  return { kind: "add", binding: "address", entry };
};

/** What a pass would do: rules, and addresses to add. */
function outlook(rules: readonly Change[], add: readonly AddressStep[] = []): Outlook {
  return {
    rules: { changes: rules, steps: "a transaction" },
    sysctls: [],
    addresses: { add, remove: [] },
    routes: { steps: [] },
    changes: [...rules, ...add.map(describeAddressStep)],
  } as unknown as Outlook;
}

t.test("fights", async (t) => {
  t.test("a few quick repairs are made at once, then the pauses grow up to 5 s and end never", async (t) => {
    const fights = new RepairThrottle();
    const fought = [rule("-A X")];
    let nowMs = 1_000;
    const pauses: number[] = [];
    for (let n = 0; n < 12; n++) {
      t.equal(fights.held(fought, nowMs).size, 0, "a repair is always due in the end");
      fights.record(fought, nowMs);
      const held = fights.held(fought, nowMs);
      pauses.push(fights.dueInMs(held, nowMs) ?? 0);
      if (held.size > 0) t.equal(fights.held(fought, nowMs + (pauses.at(-1) ?? 0) - 1).size, 1);
      nowMs += held.size > 0 ? (pauses.at(-1) ?? 0) : 10;
    }
    t.strictSame(pauses, [0, 0, 0, 0, 0, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
    t.match(fights.current(nowMs), [{ change: { text: "-A X" }, repairs: 12 }]);
  });

  t.test("only the very thing waits", async (t) => {
    const fights = new RepairThrottle();
    for (let n = 0; n <= maxQuickRepairs; n++) fights.record([rule("-A X")], n);
    t.strictSame(fights.held([rule("-A X"), rule("-A Y")], 10), new Set([keyOf(rule("-A X"))]));
    t.equal(fights.held([{ ...rule("-A X"), action: "remove" }], 10).size, 0);
  });

  t.test("slow repairs are none, and peace is remembered", async (t) => {
    const slow = new RepairThrottle();
    for (let n = 0; n < 50; n++) slow.record([rule("-A X")], (n * windowMs) / maxQuickRepairs);
    t.strictSame(slow.current(0), []);
    const over = new RepairThrottle();
    for (let n = 0; n <= maxQuickRepairs; n++) over.record([rule("-A X")], n);
    t.equal(over.dueInMs(new Set(), maxQuickRepairs), calmMs, "a look falls due when it is over");
    t.equal(over.current(maxQuickRepairs + calmMs - 1).length, 1);
    t.equal(over.current(maxQuickRepairs + calmMs).length, 0);
    t.equal(over.dueInMs(new Set(), maxQuickRepairs + calmMs), undefined);
    over.record([rule("-A X")], 100_000);
    t.equal(over.held([rule("-A X")], 100_001).size, 0, "the next one starts from the beginning");
  });
});

t.test("drift", async (t) => {
  const [x, y] = [rule("-A X"), rule("-A Y")];
  const nothing = outlook([]);
  /** One pass that plans `planned` and then reads `residual`. @returns what it was to do */
  const pass = (
    drift: Drift,
    version: string,
    planned: Outlook,
    residual: Outlook,
    refusals: Refusal[] = [],
  ) => {
    const review = drift.review(version, planned, 0);
    drift.conclude(version, planned, review, { residual, refusals }, 0);
    return review;
  };
  /** A fight over `planned`, as long as it takes. */
  const fight = (planned: Outlook) => {
    const drift = new Drift();
    pass(drift, "1", planned, nothing);
    for (let n = 0; n <= maxQuickRepairs; n++) pass(drift, "1", planned, nothing);
    return drift;
  };

  t.test("is what was done and is undone, not what was asked for", async (t) => {
    const drift = new Drift();
    t.strictSame(pass(drift, "1", outlook([x, y]), nothing).repairs, []);
    t.strictSame(pass(drift, "1", outlook([x]), nothing).repairs, [x]);
    t.strictSame(pass(drift, "2", outlook([x]), nothing).repairs, [], "asked for anew");
  });

  t.test("is what was undone before it could be read back, too", async (t) => {
    const drift = new Drift();
    pass(drift, "1", outlook([x]), outlook([x]));
    t.strictSame(pass(drift, "1", outlook([x]), outlook([x])).repairs, [x]);
  });

  t.test("is neither what was refused, nor what came up too late to be tried", async (t) => {
    const drift = new Drift();
    const refusal: Refusal = { stage: "routes", code: "ENETUNREACH", message: "no", text: x.text };
    for (let n = 0; n < 10; n++) {
      const { repairs, held } = pass(drift, "1", outlook([x]), outlook([x]), [refusal]);
      t.equal(repairs.length + held.size, 0);
    }
    pass(drift, "2", nothing, outlook([y]));
    t.strictSame(pass(drift, "2", outlook([y]), nothing).repairs, []);
  });

  t.test("that is fought over waits, and nothing else with it", async (t) => {
    const planned = outlook([x], [address("203.0.113.10")]);
    const drift = fight(outlook([x]));
    const review = drift.review("1", planned, 0);
    t.strictSame([...review.held], [keyOf(x)]);
    t.strictSame(review.due.rules.changes, []);
    t.equal(review.due.addresses.add.length, 1);
    t.equal(review.due.changes.length, 1);
    t.match(drift.fights(0), [{ change: x }]);
  });

  t.test("goes along where another rule is due: a table is one transaction", async (t) => {
    const review = fight(outlook([x])).review("1", outlook([x, y]), 0);
    t.strictSame(review.due.changes, [x, y]);
    t.equal(review.due.rules.steps, "a transaction");
  });

  t.test("waits no longer than until somebody writes", async (t) => {
    const review = fight(outlook([x])).review("2", outlook([x]), 0);
    t.equal(review.held.size, 0);
    t.strictSame(review.due.changes, [x]);
  });

  t.test("of an address waits like that of a rule", async (t) => {
    const step = address("203.0.113.10");
    const review = fight(outlook([], [step])).review("1", outlook([x], [step]), 0);
    t.strictSame(review.due.addresses.add, []);
    t.strictSame(review.due.changes, [x]);
  });
});
