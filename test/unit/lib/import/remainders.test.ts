/** What of the kernel's state no import reads. */
import t from "tap";
import { remaindersIn } from "../../../../lib/import/remainders.ts";
import type { Change, SubsystemName } from "../../../../lib/model/change.ts";

t.test("what other subsystems would remove", async (t) => {
  const step = (name: string, ...actions: readonly Change["action"][]) => ({
    phase: "removals" as const,
    payload: undefined,
    changes: actions.map((action) => ({ action, subsystem: "rule" as const, text: `${action} of ${name}` })),
  });
  const parts = new Map([
    ["rule" as SubsystemName, { steps: [step("rule", "remove")] }],
    ["later" as SubsystemName, { steps: [step("one", "add", "remove"), step("two", "set", "remove")] }],
  ]);
  t.strictSame(
    remaindersIn(parts).map(({ what, where }) => `${where}: ${what}`),
    ["later: remove of one", "later: remove of two"],
  );
});
