import t from "tap";
import { commonRulesFault } from "../../../../../agent/reconciler/pass/common-rules-fault.ts";
import type { Change, SubsystemName } from "../../../../../lib/model/change.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";

const chain: Change = { action: "add", subsystem: "rule", text: ":DNAT_FILTER - [0:0]" };
const refused = { stage: "rule", message: "EINVAL" } as const;

interface Case {
  readonly changes?: readonly Change[];
  readonly failures?: Parameters<typeof commonRulesFault>[0]["failures"];
  readonly unread?: SubsystemName;
}

function faultOf({ changes = [], failures = [], unread }: Case): string | undefined {
  const errors = new Map<SubsystemName, GatewayError>();
  if (unread !== undefined) errors.set(unread, new GatewayError("unreadable", "cut short"));
  return commonRulesFault({ snapshot: { unread: errors }, planAfter: { changes }, failures });
}

t.test("what every gateway has", async (t) => {
  t.equal(faultOf({}), undefined);
  t.equal(faultOf({ changes: [chain] }), "missing: :DNAT_FILTER - [0:0]");
  t.equal(faultOf({ changes: [chain], failures: [refused] }), "EINVAL");
  t.equal(faultOf({ changes: [{ ...chain, subsystem: "guard" }] }), "missing: :DNAT_FILTER - [0:0]");
  t.equal(faultOf({ unread: "rule" }), "cut short");
});

t.test("objects, leftovers and what is no rule do not count", async (t) => {
  t.equal(faultOf({ changes: [{ ...chain, object: "fips/f" }] }), undefined);
  t.equal(faultOf({ changes: [{ ...chain, action: "remove" }] }), undefined);
  t.equal(faultOf({ changes: [{ ...chain, subsystem: "route" }] }), undefined);
  t.equal(faultOf({ unread: "qos" }), undefined);
  const ofObject = { ...refused, object: "fips/f" } as const;
  t.equal(faultOf({ changes: [chain], failures: [ofObject] }), "missing: :DNAT_FILTER - [0:0]");
});
