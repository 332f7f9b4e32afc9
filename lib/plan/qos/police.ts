/**
 * Limits of one interface without classes: what exceeds a limit is dropped. A packet must keep to every limit that it
 * matches.
 */
import { type Chunked, everyNth } from "../../chunked.ts";
import type { InterfaceName } from "../../model/names.ts";
import { limitText, type PolicyCounter, withPriority } from "../../nftables/qos.ts";
import type { WantedElement, WantedRules } from "./parts.ts";
import { policeLimit } from "./rates.ts";
import { addressOfLimit, byPrecedence, type PlacedLimit } from "./scopes.ts";

/** Takes a few milliseconds. */
const policedAtOnce = 2_000;

/** @param counter of what they drop */
export function* policeRules(limits: readonly PlacedLimit[], counter: PolicyCounter): Chunked<WantedRules> {
  const isDue = everyNth(policedAtOnce);
  const wholes = limits.filter(({ limit }) => limit.target.kind === "all");
  const rules: WantedRules["rules"][number][] = [];
  const sets = new Map<InterfaceName | undefined, Map<string, WantedElement>>();
  // What comes first spares the limits behind it: a packet that an EIP's limit drops is not counted by a device's.
  const sorted = yield* byPrecedence(limits);
  for (const one of [...sorted.toReversed(), ...wholes]) {
    if (isDue()) yield;
    const { limit, out, in: from } = one;
    const { target } = limit;
    const over = policeLimit(limit);
    const rule = { out, in: from, address: addressOfLimit(one), counter };
    if (target.kind !== "eip") {
      rules.push({
        ...rule,
        priority: limit.priority,
        match: { network: target.kind === "network" ? target.cidr : undefined, verdict: { over } },
      });
      continue;
    }
    const elements = sets.get(from) ?? new Map<string, WantedElement>();
    if (!sets.has(from)) {
      sets.set(from, elements);
      rules.push({ ...rule, match: { kind: "set", elements } });
    }
    elements.set(target.eip, { value: withPriority(limitText(over), limit.priority), object: limit.id });
  }
  return { rules };
}
