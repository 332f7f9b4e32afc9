/** Flows on EIPs, whether permitted or not: what an operator asks for. */
import { type Ipv4, toU32 } from "../model/ipv4.ts";
import { type FlowPredicate, flowStatus } from "./flow.ts";
import { addressKey } from "./prefix-table.ts";

/**
 * Matches every live flow that comes in by one of `eips` (original destination) or is seen outside as one of them
 * (reply destination). A zone of its own is another address space, so it does not count.
 */
export function touches(eips: ReadonlySet<Ipv4>): FlowPredicate {
  const keys = new Set<number>();
  for (const eip of eips) keys.add(addressKey(toU32(eip)));
  return (flow) =>
    flow.zone === 0 &&
    (flow.status & flowStatus.dying) === 0 &&
    (keys.has(addressKey(flow.originalDestination)) || keys.has(addressKey(flow.replyDestination)));
}
