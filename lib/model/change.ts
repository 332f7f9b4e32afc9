/** One line of a plan: what would be changed, as data and as text. A plan without changes is a converged gateway. */
import type { ObjectId } from "./names.ts";

export type Subsystem = "sysctl" | "gate" | "guard" | "rule" | "address" | "route" | "flow";

export interface Change {
  readonly action: "add" | "remove" | "replace" | "set";
  readonly subsystem: Subsystem;
  /** The object that asks for it; absent for drift, leftovers and the fixed frame. */
  readonly object?: ObjectId;
  /** In the words of the subsystem's own tool: `-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT ...`. */
  readonly text: string;
}
