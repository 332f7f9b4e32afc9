/** Reads what another dataplane left as objects. */
import type { Chunked } from "../chunked.ts";
import type { RuleDump } from "../iptables/save.ts";
import type { PreviousObserved } from "../plan/previous.ts";
import { type FoundInterfaces, interfacesInDump } from "./interfaces.ts";
import { readDump } from "./iptables.ts";
import { noRules, type ReadContext, type ReadRules } from "./read-rules.ts";

/** The interfaces that its rules name. */
export function interfacesOfPrevious({ name, planner, observed }: PreviousObserved): FoundInterfaces {
  const isRead = planner.holdsObjects(observed) && name.startsWith("iptables-");
  return isRead ? interfacesInDump(observed as RuleDump) : {};
}

/** Elements of nftables are not read with another dataplane: only their table is known. */
export function* readPrevious(
  { name, planner, observed }: PreviousObserved,
  context: ReadContext,
): Chunked<ReadRules> {
  if (!planner.holdsObjects(observed)) return noRules;
  if (name.startsWith("iptables-")) return yield* readDump(name, observed as RuleDump, [], context);
  const why = "start the agent with the dataplane that made it, or write these objects again";
  return { ...noRules, unread: [{ what: "all of it", where: name, why }] };
}
