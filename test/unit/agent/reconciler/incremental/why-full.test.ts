/** Each reason for a full pass, and a pass that needs none. */
import t from "tap";
import { whyFull } from "../../../../../agent/reconciler/incremental/why-full.ts";
import type { PassResult } from "../../../../../agent/reconciler/pass/pass-result.ts";
import type { ObjectId, ObjectName } from "../../../../../lib/model/names.ts";

const write = { reasons: ["write"], isResync: false };
const written = new Set<ObjectId>(["fips/f", "dnats/d", "eips/e"]);

function base(compileContext = {}, more = {}): PassResult {
  return {
    state: { isSet: true },
    isClean: true,
    hasVerifiedRules: true,
    failures: [],
    snapshot: { unread: new Map(), facts: { isPreviousPresent: false } },
    planAfter: {
      context: { addressConflicts: new Map() },
      compileContext: { quarantined: new Map(), probing: new Set(), ...compileContext },
    },
    ...more,
  } as unknown as PassResult;
}

t.test("a write of Eips, FIPs and DNATs after a pass that left nothing needs no full pass", async (t) => {
  t.equal(whyFull(write, base(), written), undefined);
});

t.test("everything else does", async (t) => {
  t.match(whyFull(write, undefined, written), "first pass");
  t.match(whyFull({ ...write, isResync: true }, base(), written), "resync");
  t.match(
    whyFull({ ...write, reasons: ["write", "rules"] }, base(), written),
    "not only a write woke it: rules",
  );
  t.match(whyFull(write, base(), undefined), "too many objects were written, or the gateway");
  t.match(
    whyFull(write, base(), new Set<ObjectId>(["fips/f", "snats/s"])),
    "other than Eips, FIPs and DNATs",
  );
  const unfinished = [
    base({ quarantined: new Map([["fips/x", "refused"]]) }),
    base({ probing: new Set(["203.0.113.10"]) }),
    base({}, { state: { isSet: false } }),
    base({}, { isClean: false }),
    base({}, { hasVerifiedRules: false }),
    base({}, { failures: [{ stage: "rule" }] }),
    base({}, { snapshot: { unread: new Map([["rule", new Error()]]) } }),
    base({}, { snapshot: { unread: new Map(), facts: { isPreviousPresent: true } } }),
  ];
  for (const last of unfinished) t.match(whyFull(write, last, written), "the last pass left something");
});

t.test("the probes for a contested address end with a full pass", async (t) => {
  const eips = new Map([["e", { spec: { address: "203.0.113.10/24" } }]]);
  const fips = new Map([["f", { spec: { eip: "e" as ObjectName } }]]);
  const desired = { eips, fips, dnats: new Map() };
  const after = (...contested: string[]) =>
    ({
      ...base({}, { state: { isSet: true, desired } }),
      planAfter: {
        ...base().planAfter,
        context: { addressConflicts: new Map(contested.map((ip) => [ip, "mac"])) },
      },
    }) as unknown as PassResult;
  t.match(whyFull(write, after("203.0.113.10"), new Set<ObjectId>(["eips/e"])), "another host holds");
  t.match(whyFull(write, after("203.0.113.10"), new Set<ObjectId>(["fips/f"])), "another host holds");
  t.equal(whyFull(write, after("203.0.113.11"), written), undefined, "another Eip's");
});
