/**
 * Which flows contradict the desired state and must be ended once the rules are in force.
 *
 * A conntrack entry keeps its translation as long as packets arrive, even if the rules change. So the EIP of a removed
 * FIP still reaches the old pod, and a flow that began before its rule stays untranslated. A flow is ended if a rule
 * covers it and no object translates it that way, or if it uses an EIP of ours that no object gives it any more. All
 * other flows stay: permitted ones, routed flows without NAT, the gateway's own, and foreign NAT.
 *
 * The comparison uses addresses and the destination port. It never uses status bits, because a port clash sets
 * IPS_SRC_NAT on an untranslated source, and never the destination port of the reply, because masquerading chooses it
 * at random.
 */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
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
  /** Former EIPs that may still have flows. Without them the flows of a removed EIP look like foreign NAT. */
  readonly retired: ReadonlySet<Ip>;
  /** Observed addresses and routes. Routes of the program count as installed. */
  readonly network: ObservedNetwork;
}

/**
 * Compiles the predicate "this flow must be ended". It allocates nothing and costs a few map lookups per flow.
 *
 * It is false for the flows that the program's own rules create, so a second sweep finds nothing.
 */
export function compileContradicts(input: PermitsInput): FlowPredicate {
  return runSync(compileContradictsChunked(input));
}

/** Takes a few milliseconds. */
const notedAtOnce = 4_000;

/** The same in parts. */
export function* compileContradictsChunked({
  program,
  retired,
  network,
}: PermitsInput): Chunked<FlowPredicate> {
  const routing = yield* compileRouting(program, network);
  const destination = yield* compileDestinations(program);
  const source = yield* compileSources(program, routing);
  const { keyOf, toValue } = program.family;
  const ours = new Set<AddressKey>();
  const isDue = everyNth(notedAtOnce);
  for (const { address } of ruledEips(program)) {
    if (isDue()) yield;
    ours.add(keyOf(toValue(address)));
  }
  for (const address of retired) {
    if (isDue()) yield;
    ours.add(keyOf(toValue(address)));
  }

  return (flow) => {
    if (flow.zone !== 0 || (flow.status & skipped) !== 0) return false;
    // Traffic of the gateway itself passes OUTPUT, where the agent has no rule: its destination NAT is always foreign.
    const isOwnTraffic = routing.isLocal(flow.originalSource);
    const verdict = isOwnTraffic ? "unruled" : destination(flow);
    if (verdict === "contradicted") return true;
    const isUnexplained = verdict === "unruled" && !keepsDestination(flow);
    if (isUnexplained && !isOwnTraffic && ours.has(keyOf(flow.originalDestination))) return true;

    const sourceVerdict = source(flow);
    if (sourceVerdict === "permitted") return false;
    // An untranslated source beside a foreign destination NAT belongs to the foreign NAT.
    if (flow.replyDestination === flow.originalSource) {
      return sourceVerdict === "contradicted" && !isUnexplained;
    }
    return ours.has(keyOf(flow.replyDestination));
  };
}

const skipped = flowStatus.expected | flowStatus.dying;
