/**
 * Which flows contradict the desired state and must go, once the rules are in force.
 *
 * An entry keeps the translation that it was born with for as long as packets come, whatever becomes of the rules. So a
 * removed FIP's EIP keeps reaching its old pod, and a flow that began before its rule stays plain for ever. A flow goes
 * when a rule covers it and no object translates it as it is translated, or when it uses an EIP of ours that no object
 * gives it any more. Everything else stays: what still is permitted, plain routed flows, the gateway's own, foreign NAT.
 *
 * Addresses and the destination's port are compared, never status bits (a port clash sets IPS_SRC_NAT on an untranslated
 * source) and never the reply's destination port (masquerading draws it at random).
 */
import type { AddressKey } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import { type Program, ruledEips } from "../model/program.ts";
import { compileDestinations, keepsDestination } from "./destinations.ts";
import { compileRouting } from "./device.ts";
import { type FlowPredicate, flowStatus } from "./flow.ts";
import { compileSources } from "./sources.ts";

export interface PermitsInput {
  readonly program: Program;
  /** EIPs that were ours and may still have flows. Without them, flows of a removed EIP would pass for foreign NAT. */
  readonly retired: ReadonlySet<Ip>;
  /** Addresses and routes as observed; what the program routes itself counts as routed already. */
  readonly network: ObservedNetwork;
}

/**
 * Compiles the predicate "this flow must go". It allocates nothing and costs a few map lookups for each flow.
 *
 * On what the program's own rules make of a new flow it is false, so that a second sweep finds nothing.
 */
export function compileContradicts({ program, retired, network }: PermitsInput): FlowPredicate {
  const routing = compileRouting(program, network);
  const destination = compileDestinations(program);
  const source = compileSources(program, routing);
  const { keyOf, toValue } = program.family;
  const ours = new Set<AddressKey>();
  for (const { address } of ruledEips(program)) ours.add(keyOf(toValue(address)));
  for (const address of retired) ours.add(keyOf(toValue(address)));

  return (flow) => {
    if (flow.zone !== 0 || (flow.status & skipped) !== 0) return false;
    // What the gateway itself sends passes OUTPUT, where no rule of ours is: its destination NAT can only be foreign.
    const isOwnTraffic = routing.isLocal(flow.originalSource);
    const verdict = isOwnTraffic ? "unruled" : destination(flow);
    if (verdict === "contradicted") return true;
    const isUnexplained = verdict === "unruled" && !keepsDestination(flow);
    if (isUnexplained && !isOwnTraffic && ours.has(keyOf(flow.originalDestination))) return true;

    const sourceVerdict = source(flow);
    if (sourceVerdict === "permitted") return false;
    // A plain source beside a foreign destination NAT is part of the foreign arrangement.
    if (flow.replyDestination === flow.originalSource) {
      return sourceVerdict === "contradicted" && !isUnexplained;
    }
    return ours.has(keyOf(flow.replyDestination));
  };
}

const skipped = flowStatus.expected | flowStatus.dying;
