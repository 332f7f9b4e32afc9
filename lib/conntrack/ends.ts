/**
 * Flows by one of their four addresses: the kernel can filter a dump by these.
 *
 * A few filtered dumps are cheaper than a dump of everything. A flow can have several of these addresses.
 */
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { Program } from "../model/program.ts";
import { type FlowPredicate, type FlowView, flowStatus } from "./flow.ts";

/** An address and where it stands in the flow. */
export interface FlowEnd {
  readonly tuple: "original" | "reply";
  readonly side: "source" | "destination";
  readonly address: Ip;
}

/** Flows that come in through `eip`, and flows that leave with `eip` as source. */
export function endsAt(eip: Ip): readonly FlowEnd[] {
  return [
    { tuple: "original", side: "destination", address: eip },
    { tuple: "reply", side: "destination", address: eip },
  ];
}

/**
 * The flows that FIPs and DNATs of these programs can affect: for all other flows the programs give the same result.
 * FIPs and DNATs translate flows to their EIP; FIPs also translate flows from their pod.
 */
export function endsRuledBy(programs: readonly Pick<Program, "fips" | "dnats">[]): readonly FlowEnd[] {
  const eips = new Set<Ip>();
  const pods = new Set<Ip>();
  for (const { fips, dnats } of programs) {
    for (const { eip, internalIp } of fips) {
      eips.add(eip);
      pods.add(internalIp);
    }
    for (const { eip } of dnats) eips.add(eip);
  }
  return [
    ...Array.from(eips, (address): FlowEnd => ({ tuple: "original", side: "destination", address })),
    ...Array.from(pods, (address): FlowEnd => ({ tuple: "original", side: "source", address })),
  ];
}

/**
 * Matches every live flow that has at least one of `ends`, in a few lookups. Flows in another conntrack zone do not
 * count: a zone is a separate address space.
 */
export function hasEndOf(ends: readonly FlowEnd[], { keyOf, toValue }: Family): FlowPredicate {
  const fields = Map.groupBy(ends, ({ tuple, side }) => fieldOf[tuple][side]);
  const places = Array.from(fields, ([field, these]) => ({
    field,
    keys: new Set(these.map(({ address }) => keyOf(toValue(address)))),
  }));
  return (flow) => {
    if (flow.zone !== 0 || (flow.status & flowStatus.dying) !== 0) return false;
    for (const { field, keys } of places) if (keys.has(keyOf(flow[field]))) return true;
    return false;
  };
}

const fieldOf = {
  original: { source: "originalSource", destination: "originalDestination" },
  reply: { source: "replySource", destination: "replyDestination" },
} as const satisfies Record<FlowEnd["tuple"], Record<FlowEnd["side"], keyof FlowView>>;
