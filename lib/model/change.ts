/** One line of a plan: a change as data and as text. A plan without changes means that the gateway is converged. */
import type { ObjectId } from "./names.ts";

/**
 * The names of the subsystems in plans, metrics, failures and reports. Each has one value in
 * agent/reconciler/subsystems/subsystems.ts.
 */
export const subsystemNames = [
  "api",
  "gate",
  "netfilter",
  "rule",
  "sysctl",
  "address",
  "route",
  "reach",
  "flow",
  "qos",
  "accounting",
  "previous",
] as const;
export type SubsystemName = (typeof subsystemNames)[number];

/** Labels for counting changes: the gate subsystem also writes the guard, which is counted separately. */
export const changeLabels = [...subsystemNames, "guard"] as const;
export type ChangeLabel = (typeof changeLabels)[number];

export interface Change {
  readonly action: "add" | "remove" | "replace" | "set";
  readonly subsystem: ChangeLabel;
  /** The object that needs it. Absent for drift, leftovers and what every gateway has. */
  readonly object?: ObjectId;
  /** As the subsystem's own tool prints it: `-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT ...`. */
  readonly text: string;
}
