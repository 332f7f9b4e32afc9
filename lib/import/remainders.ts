/** What no import reads: state that the agent owns, in subsystems whose objects are not imported. */
import type { SubsystemName } from "../model/change.ts";
import type { SubsystemPlan } from "../plan/subsystem.ts";
import type { Unread } from "./read-rules.ts";

/** What the import reads, and what belongs to no object. */
const handled: ReadonlySet<SubsystemName> = new Set([
  "gate",
  "netfilter",
  "rule",
  "sysctl",
  "address",
  "route",
  "reach",
  "flow",
  "accounting",
  "qos",
  "previous",
]);

/** @param parts the plan for an empty set: what it removes is what objects had */
export function remaindersIn(
  parts: ReadonlyMap<SubsystemName, Pick<SubsystemPlan, "steps">>,
): readonly Unread[] {
  const unread: Unread[] = [];
  for (const [name, { steps }] of parts) {
    if (handled.has(name)) continue;
    for (const { changes } of steps)
      for (const { action, text } of changes)
        if (action === "remove")
          unread.push({ what: text, where: name, why: "its objects are not imported: write them again" });
  }
  return unread;
}
