/** One reading through all subsystems: what each failure means for the others. */

import t from "tap";
import { SnapshotReader } from "../../../../../agent/reconciler/pass/snapshot-reader.ts";
import { quietRequest } from "../../../../../agent/reconciler/pass-request.ts";
import type { Subsystem } from "../../../../../agent/reconciler/subsystem.ts";
import { TimeLimits } from "../../../../../agent/reconciler/time-limits.ts";
import type { SubsystemName } from "../../../../../lib/model/change.ts";
import { type ErrorCode, GatewayError } from "../../../../../lib/model/errors.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import type { KernelFacts } from "../../../../../lib/plan/plan-input.ts";
import { subsystemPlan } from "../../../../../lib/plan/subsystem.ts";

const forever = new AbortController().signal;
const options = { timeLimits: new TimeLimits(), onLateEnd: () => {} };
const network = { links: [], addresses: [], routes: [], sysctls: new Map() };
const named = new Set(["203.0.113.10" as Ip]);

/** A subsystem whose reading is the number of its readings, or that fails. */
function subsystem(name: SubsystemName, facts: Partial<KernelFacts> = {}) {
  let reads = 0;
  const control = { failure: undefined as ErrorCode | undefined };
  const value: Subsystem = {
    planner: { name, title: name, serves: [], plan: () => subsystemPlan([]), reads: () => [] },
    observe: async () => {
      reads++;
      if (control.failure !== undefined) throw new GatewayError(control.failure, "cut short");
      return reads;
    },
    facts: () => facts,
    apply: async () => [],
  };
  return { value, control };
}

function world() {
  const address = subsystem("address", { network });
  const rule = subsystem("rule", { eipsNamedByRules: named, holdsObjects: true });
  const reader = new SnapshotReader([address.value, rule.value], options);
  const read = (...more: readonly unknown[]) =>
    reader.read(quietRequest, forever, ...(more as [undefined, undefined]));
  return { address, rule, reader, read };
}

t.test("joins the facts of all readings", async (t) => {
  const { reader, read } = world();
  t.equal(reader.last, undefined);
  const { facts, observed, unread } = await read();
  t.equal(facts.network, network);
  t.equal(facts.eipsNamedByRules, named);
  t.equal(facts.isGateClosed, false, "nobody told");
  t.strictSame([...observed.keys()], ["address", "rule"]);
  t.equal(unread.size, 0);
  t.equal(reader.last?.facts.network, network);
});

t.test("an unreadable subsystem keeps the facts of its last reading", async (t) => {
  const { rule, read } = world();
  await read();
  rule.control.failure = "unreadable";
  const { facts, observed, unread } = await read();
  t.match(unread.get("rule"), { code: "unreadable" });
  t.equal(observed.has("rule"), false, "and no reading of then passes for one of now");
  t.equal(facts.eipsNamedByRules, named);
  t.ok(facts.holdsObjects);
  rule.control.failure = undefined;
  t.equal((await read()).unread.size, 0);
});

t.test("reads again only the requested subsystems", async (t) => {
  const { reader, rule, read } = world();
  const before = await read();
  const after = await reader.read(quietRequest, forever, before, new Set(["rule"]));
  t.strictSame(
    [...after.observed],
    [
      ["address", 1],
      ["rule", 2],
    ],
  );
  rule.control.failure = "netlink-failed";
  const broken = await reader.read(quietRequest, forever, after, new Set(["rule"]));
  t.ok(broken.unread.has("rule"));
  const other = await reader.read(quietRequest, forever, broken, new Set(["address"]));
  t.ok(other.unread.has("rule"), "it still could not be read");
});

t.test(
  "without the network nothing is planned; with both variants of iptables nothing is written",
  async (t) => {
    const { address, rule, read } = world();
    address.control.failure = "netlink-failed";
    await t.rejects(read(), { code: "netlink-failed" });
    address.control.failure = undefined;
    rule.control.failure = "mixed-variants";
    await t.rejects(read(), { code: "mixed-variants" });
  },
);

t.test("an error that is not a GatewayError is rethrown", async (t) => {
  const { value } = subsystem("address", { network });
  const broken: Subsystem = { ...value, observe: () => Promise.reject(new TypeError("a bug")) };
  await t.rejects(new SnapshotReader([broken], options).read(quietRequest, forever), TypeError);
});
