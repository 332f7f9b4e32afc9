/** Which dumps of the conntrack table find the wanted flows: one of everything, or a few that the kernel filters. */
import { type FlowEnd, hasEndOf } from "../../../lib/conntrack/ends.ts";
import type { FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { encodeDump, encodeDumpOf } from "../../../lib/netlink/ctnetlink.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";

export interface FlowDump {
  readonly request: NetlinkMessage;
  readonly isWanted: FlowPredicate;
}

/** Whether kernel filters save time with so many entries in the table. `undefined`: nobody knows how many. */
export function isWorthFiltering(entries: number | undefined): boolean {
  return entries === undefined || entries > fewEntries;
}

/** With more addresses than this, one full dump is cheaper: the kernel walks the whole table for each filter. */
const maxFiltered = 5;
/** So few entries are dumped at once and matched here, faster than the kernel walks its table a second time. */
const fewEntries = 5_000;

/** A failed read of the count is "unknown": the count only saves time. Any other error is thrown. */
export function unknownIfRefused(error: unknown): undefined {
  if (!(error instanceof GatewayError)) throw error;
}

/** The dumps that find every flow that matches exactly once. @param ends see `ConntrackDriver.find` */
export function dumpsFor(
  matches: FlowPredicate,
  ends: readonly FlowEnd[] | undefined,
  family: Family,
): readonly FlowDump[] {
  if (ends === undefined || ends.length > maxFiltered)
    return [{ request: encodeDump(family), isWanted: matches }];
  return ends.map((end, index) => {
    const hasIt = hasEndOf([end], family);
    const isFoundBefore = hasEndOf(ends.slice(0, index), family);
    return {
      request: encodeDumpOf(end, family),
      isWanted: (flow) => hasIt(flow) && !isFoundBefore(flow) && matches(flow),
    };
  });
}
