/** One line of a plan: what would be changed, as data and as text. A plan without changes is a converged gateway. */
import type { ObjectId } from "./names.ts";

/**
 * The subsystems, by the name that plans, metrics, failures and reports give them. Each has one value in
 * agent/reconciler/subsystems/subsystems.ts.
 */
export const subsystemNames = [
  "gate",
  "netfilter",
  "rule",
  "sysctl",
  "address",
  "route",
  "reach",
  "flow",
  "previous",
] as const;
export type SubsystemName = (typeof subsystemNames)[number];

/** What a change is counted under: the guard is written by the gate's subsystem and counted apart. */
export const changeLabels = [...subsystemNames, "guard"] as const;
export type ChangeLabel = (typeof changeLabels)[number];

export interface Change {
  readonly action: "add" | "remove" | "replace" | "set";
  readonly subsystem: ChangeLabel;
  /** The object that asks for it; absent for drift, leftovers and what every gateway has. */
  readonly object?: ObjectId;
  /** In the words of the subsystem's own tool: `-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT ...`. */
  readonly text: string;
}
