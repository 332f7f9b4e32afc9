/**
 * The seams between the reconciler and the world. Each driver observes into values of `lib/model/` and applies
 * what a planner of `lib/plan/` decided; none decides by itself. All throw `GatewayError`s (lib/model/errors.ts): a read that
 * was cut short throws too, so that an unreadable table is never taken for an empty one.
 */

import type { ArpPacket, Mac } from "../../lib/arp/packet.ts";
import type { FlowEnd } from "../../lib/conntrack/ends.ts";
import type { Flow, FlowPredicate } from "../../lib/conntrack/flow.ts";
import type { GatewayError } from "../../lib/model/errors.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { ObservedNetwork, ObservedPaths } from "../../lib/model/observed.ts";
import type { NeighbourState } from "../../lib/netlink/rtnetlink-neighbours.ts";
import type { AddressStep } from "../../lib/plan/address-plan.ts";
import type { NetfilterObserved } from "../../lib/plan/netfilter/observed.ts";
import type { RouteStep } from "../../lib/plan/network/routes.ts";
import type { SysctlStep } from "../../lib/plan/network/sysctls.ts";
import type { NextHop } from "../../lib/plan/reach/next-hops.ts";
import type { RemovalPlanner } from "../../lib/plan/removal-planner.ts";
import type { RulesPlanner } from "../../lib/plan/rules-planner.ts";

/** Reads and writes the rules of one dataplane; decides nothing. Guard and gate included. */
export interface RulesDriver<Observed = unknown, Payload = unknown> {
  readonly backend: "iptables-nft" | "iptables-legacy" | "nftables";
  /** Calls at the same time share one reading: the later one waits for it, and reads only what changed since. */
  observe(signal: AbortSignal): Promise<Observed>;
  /**
   * Takes the payload's transactions one after the other; each once begun is finished. Throws where nobody knows what became
   * of one.
   *
   * @param isRetry an earlier attempt at the same was raced or refused: iptables then leaves all to the tools, which need no
   *   pause of other writers
   */
  write(payload: Payload, signal: AbortSignal, isRetry?: boolean): Promise<WriteOutcome<Payload>>;
  /** Present where the kernel can prove that nobody else changed the rules. */
  readonly incremental?: IncrementalRules<Observed>;
}

export type WriteOutcome<Payload = unknown> =
  | { readonly kind: "done" }
  /** Another writer came between; nothing of that transaction was applied: read, plan and try again. */
  | { readonly kind: "raced"; readonly error: GatewayError }
  /** Another program holds the lock; nothing was applied. To try at once again would only hold up all else. */
  | { readonly kind: "busy"; readonly error: GatewayError }
  /**
   * The kernel refused a transaction (`rules-refused`, or what the tool said): nothing of it was applied. `transaction` is that
   * one, where another writer may have caused the refusal: one that a new plan includes unchanged is final. Absent: it is final.
   */
  | { readonly kind: "refused"; readonly error: GatewayError; readonly transaction?: Payload };

/** What makes the change of a few objects cheap among many. */
export interface IncrementalRules<Observed = unknown> {
  /** The last reading, where it is proved to be true still; `undefined` where only another reading can tell. */
  verified(signal: AbortSignal): Promise<Observed | undefined>;
  /** The last reading to plan a part on, where it is proved to be true still or {@link verify} will prove that it was. */
  base(signal: AbortSignal): Promise<Observed | undefined>;
  /** What is there after what was written to {@link base}; `undefined` where anything else was changed besides. */
  verify(signal: AbortSignal): Promise<Observed | undefined>;
}

/** The rules of one kind: iptables in its two variants, or nftables. */
export interface Dataplane<Observed = unknown, Payload = unknown> {
  readonly driver: RulesDriver<Observed, Payload>;
  readonly planner: RulesPlanner<Observed, Payload>;
}

/** Another dataplane that may have served in this namespace. */
export interface PreviousDataplane<Observed = unknown, Payload = unknown> {
  readonly name: RulesDriver["backend"];
  readonly planner: RemovalPlanner<Observed, Payload>;
  observe(signal: AbortSignal): Promise<Observed>;
  /** Transactions once begun are finished. */
  write(payload: Payload, signal: AbortSignal): Promise<WriteOutcome>;
}

/** Links, addresses, routes and sysctls of this namespace. */
export interface NetworkDriver {
  observe(signal: AbortSignal): Promise<ObservedNetwork>;
  /** What decides on the way of packets besides what `network` holds. */
  observePaths(network: ObservedNetwork, signal: AbortSignal): Promise<ObservedPaths>;
  applySysctls(
    steps: readonly SysctlStep[],
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<SysctlStep>[]>;
  /** Applies each step whatever becomes of the others. An address that is there already, or gone already, is a success. */
  applyAddresses(
    steps: readonly AddressStep[],
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<AddressStep>[]>;
  applyRoutes(steps: readonly RouteStep[], signal: AbortSignal): Promise<readonly DriverFailure<RouteStep>[]>;
}

/** The kernel's neighbour table, as far as routers go. */
export interface Neighbours {
  /** What the kernel knows of each, in their order. */
  states(hops: readonly NextHop[], signal: AbortSignal): Promise<readonly NeighbourState[]>;
  /** Has the kernel ask for each, as a packet to it would. Refusals are left to the next look. */
  ask(hops: readonly NextHop[], signal: AbortSignal): Promise<void>;
}

/** Whatever else of netfilter is on the way of packets, of all tools. */
export interface NetfilterDriver {
  /** Hardly costs anything where nobody wrote since the last reading, whose value it then gives. */
  observe(signal: AbortSignal): Promise<NetfilterObserved>;
  /** One transaction of `nft -f`; once begun it is finished. */
  repair(input: string): Promise<void>;
}

/** A step that the kernel refused, with its words. */
export interface DriverFailure<Step> {
  readonly step: Step;
  readonly code: string;
  readonly message: string;
}

export interface ConntrackDriver {
  /**
   * Looks through the table, matching while decoding. `flows` holds the first `limit` matches, `total` counts all.
   *
   * @param ends where no flow can match but with one of these: the kernel may look for a few by itself
   */
  find(
    matches: FlowPredicate,
    limit: number,
    signal: AbortSignal,
    ends?: readonly FlowEnd[],
  ): Promise<{ readonly flows: readonly Flow[]; readonly total: number }>;
  /** Deletes by original tuple and zone, each only while it still is that flow (CTA_ID). Gone already is a success. */
  remove(flows: readonly Flow[], signal: AbortSignal): Promise<{ readonly removed: number }>;
}

export interface AddressOnLink {
  readonly interface: InterfaceName;
  readonly address: Ip;
}

/**
 * Why the wire is asked about an address. `take`: it is to be added, and whoever claims it, or probes for it too, is in the
 * way. `keep`: this gateway holds it, and only an answer proves another holder.
 */
export type ProbePurpose = "take" | "keep";

export interface ProbeResult {
  /** The MAC of another station that is in the way, by address. */
  readonly others: ReadonlyMap<Ip, Mac>;
  /** Addresses that could not be asked about: the link is missing or down. Nothing is known of them. */
  readonly unasked: ReadonlySet<Ip>;
}

/** An ARP packet from another station. */
export interface HeardArp {
  readonly interface: InterfaceName;
  readonly packet: ArpPacket;
}

export interface Announcer {
  /** Asks who else holds each address, all in parallel: one frame where somebody answers, else two. */
  probe(
    addresses: readonly AddressOnLink[],
    purpose: ProbePurpose,
    signal: AbortSignal,
  ): Promise<ProbeResult>;
  /** What others sent on these links since the last call. The first call for a link begins to listen. */
  hear(links: ReadonlySet<InterfaceName>): readonly HeardArp[];
  /** Queues gratuitous ARP for each: now, then spaced over seconds. Returns at once. */
  announce(addresses: readonly AddressOnLink[]): void;
  stop(): Promise<void>;
}
