/**
 * The interfaces between the reconciler and the kernel. A driver reads the kernel into values of `lib/model/` and
 * applies what a planner of `lib/plan/` decided. It decides nothing about the gateway, only how to read and write. All throw `GatewayError` (lib/model/errors.ts). An
 * incomplete read also throws, so that an unreadable table never looks empty.
 */

import type { ArpPacket, Mac } from "../../lib/arp/packet.ts";
import type { Chunked } from "../../lib/chunked.ts";
import type { FlowEnd } from "../../lib/conntrack/ends.ts";
import type { Flow, FlowPredicate } from "../../lib/conntrack/flow.ts";
import type { OwnRules } from "../../lib/explain/own-rules.ts";
import type { FoundInterfaces } from "../../lib/import/interfaces.ts";
import type { ReadContext, ReadRules } from "../../lib/import/read-rules.ts";
import type { GatewayError } from "../../lib/model/errors.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { ObservedLink, ObservedNetwork, ObservedPaths } from "../../lib/model/observed.ts";
import type { Program } from "../../lib/model/program.ts";
import type { NeighbourState } from "../../lib/netlink/rtnetlink-neighbours.ts";
import type { ObservedAccounting, RawCounts } from "../../lib/nftables/accounting.ts";
import type { DropCounts } from "../../lib/nftables/filter-tables.ts";
import type { AccountingStep } from "../../lib/plan/accounting/steps.ts";
import type { AddressStep } from "../../lib/plan/address-plan.ts";
import type { ApiGuardObserved, ApiGuardStep } from "../../lib/plan/api-guard/planner.ts";
import type { NetfilterObserved } from "../../lib/plan/netfilter/observed.ts";
import type { RouteStep } from "../../lib/plan/network/routes.ts";
import type { SysctlStep } from "../../lib/plan/network/sysctls.ts";
import type { ClassCounts, QosObserved } from "../../lib/plan/qos/observed.ts";
import type { ScriptedQos } from "../../lib/plan/qos/scripted.ts";
import type { QosStep } from "../../lib/plan/qos/steps.ts";
import type { NextHop } from "../../lib/plan/reach/next-hops.ts";
import type { RemovalPlanner } from "../../lib/plan/removal-planner.ts";
import type { RulesPlanner } from "../../lib/plan/rules-planner.ts";

/** Reads and writes the rules of one dataplane, including guard and gate. */
export interface RulesDriver<Observed = unknown, Payload = unknown> {
  readonly backend: "iptables-nft" | "iptables-legacy" | "nftables";
  /** Pauses before further attempts of a write that lost a race or was refused. */
  readonly retryDelaysMs: readonly number[];
  /** Concurrent calls share one reading: the later one waits for it and then reads only what changed since. */
  observe(signal: AbortSignal): Promise<Observed>;
  /** The next {@link observe} reads everything from the kernel, whatever the agent remembers. */
  forget?(): void;
  /**
   * Applies the payload's transactions in order. A transaction that has begun is finished. Throws if the result of a
   * transaction is unknown.
   *
   * @param isRetry an earlier attempt lost a race or was refused: iptables then uses only the tools, which work while
   * others write
   */
  write(payload: Payload, signal: AbortSignal, isRetry?: boolean): Promise<WriteOutcome<Payload>>;
  /**
   * The kernel's counters of packets that guard and gates dropped. They go on when the agent makes a table again, and restart
   * at 0 when another program removed it; without nf_tables, when the chains are made again.
   */
  readDrops(signal: AbortSignal): Promise<DropCounts>;
  /** Present if the kernel can prove that no other program changed the rules. */
  readonly incremental?: IncrementalRules<Observed>;
}

export type WriteOutcome<Payload = unknown> =
  | { readonly kind: "done" }
  /** Another program wrote in between. Nothing of that transaction was applied: read, plan and try again. */
  | { readonly kind: "raced"; readonly error: GatewayError }
  /** Another program holds the lock. Nothing was applied. An immediate retry would only delay everything else. */
  | { readonly kind: "busy"; readonly error: GatewayError }
  /**
   * The kernel refused a transaction (`rules-refused`, or the tool's error). Nothing of it was applied. If
   * `transaction` is set, another writer may have caused the refusal: it is final only if a new plan contains the same
   * transaction again. If absent, the refusal is final.
   */
  | { readonly kind: "refused"; readonly error: GatewayError; readonly transaction?: Payload };

/** Makes changing a few objects cheap in a large set. */
export interface IncrementalRules<Observed = unknown> {
  /** The last reading, if it is proved to be current. `undefined` if a new reading is needed. */
  verified(signal: AbortSignal): Promise<Observed | undefined>;
  /** The last reading for planning a part: it is proved to be current, or {@link verify} will prove it afterwards. */
  base(signal: AbortSignal): Promise<Observed | undefined>;
  /** The state after what was written to {@link base}. `undefined` if anything else changed too. */
  verify(signal: AbortSignal): Promise<Observed | undefined>;
}

/** The rules of one dataplane: iptables in its two variants, or nftables. */
export interface Dataplane<Observed = unknown, Payload = unknown> {
  readonly driver: RulesDriver<Observed, Payload>;
  readonly planner: RulesPlanner<Observed, Payload>;
}

/** One whose rules can be read as objects, and followed by packets. */
export interface ImportableDataplane<Observed = unknown, Payload = unknown>
  extends Dataplane<Observed, Payload> {
  readObjects(observed: Observed, context: ReadContext): Chunked<ReadRules>;
  /** The interfaces that the rules name. @param links the names of those that exist */
  findInterfaces(observed: Observed, links: readonly InterfaceName[]): FoundInterfaces;
  /** The rules as single packets meet them. */
  ownRules(observed: Observed, program: Program): Chunked<OwnRules>;
}

/** Another dataplane that may have served in this namespace. */
export interface PreviousDataplane<Observed = unknown, Payload = unknown> {
  /** `backends`: the table of DNATs with several backends, beside either variant of iptables. */
  readonly name: RulesDriver["backend"] | "backends";
  readonly planner: RemovalPlanner<Observed, Payload>;
  observe(signal: AbortSignal): Promise<Observed>;
  /** A transaction that has begun is finished. */
  write(payload: Payload, signal: AbortSignal): Promise<WriteOutcome>;
}

/** Links, addresses, routes and sysctls of this namespace. */
export interface NetworkDriver {
  observe(signal: AbortSignal): Promise<ObservedNetwork>;
  /** What decides the path of packets besides `network`: policy routing rules and their tables. */
  observePaths(network: ObservedNetwork, signal: AbortSignal): Promise<ObservedPaths>;
  applySysctls(
    steps: readonly SysctlStep[],
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<SysctlStep>[]>;
  /** Applies each step independently of the others. Adding an existing address or removing a missing one succeeds. */
  applyAddresses(
    steps: readonly AddressStep[],
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<AddressStep>[]>;
  applyRoutes(steps: readonly RouteStep[], signal: AbortSignal): Promise<readonly DriverFailure<RouteStep>[]>;
}

/** The kernel's neighbour table, as far as routers are concerned. */
export interface Neighbours {
  /** The kernel's state of each, in the same order. */
  states(hops: readonly NextHop[], signal: AbortSignal): Promise<readonly NeighbourState[]>;
  /** The hosts on `links` whose MAC somebody entered. */
  permanent(links: readonly ObservedLink[], signal: AbortSignal): Promise<readonly NextHop[]>;
  /** Makes the kernel resolve each, as a packet to it would. Errors show in the next look. */
  ask(hops: readonly NextHop[], signal: AbortSignal): Promise<void>;
  /** The MAC that answers an ARP probe for the hop, whatever the neighbour table has. `undefined`: no reply. */
  answerOf(hop: NextHop, signal: AbortSignal): Promise<string | undefined>;
}

/** Netfilter rules of all tools that packets pass, besides the agent's own. */
export interface NetfilterDriver {
  /** Cheap if nothing was written since the last reading; then it returns the same value. */
  observe(signal: AbortSignal): Promise<NetfilterObserved>;
  /** See {@link RulesDriver.forget}. */
  forget?(): void;
  /** One transaction of `nft -f`. A transaction that has begun is finished. */
  repair(input: string): Promise<void>;
}

/** Reads and writes queueing disciplines and the table of rate limits. */
export interface QosDriver {
  /** What classes had counted at the last reading. */
  readonly counts: ClassCounts;
  /** The same, as it is now. Nothing is read where the last reading found no classes of the agent. */
  readCounts(signal: AbortSignal): Promise<ClassCounts>;
  observe(signal: AbortSignal): Promise<QosObserved>;
  /** See {@link RulesDriver.forget}. */
  forget?(): void;
  /** True if the table is as it was at the last reading. Of queueing disciplines there are no events. */
  isCurrent(signal: AbortSignal): Promise<boolean>;
  /** The kernel's counters of what limits without classes dropped, as {@link RulesDriver.readDrops}. */
  readDrops(signal: AbortSignal): Promise<DropCounts>;
  /** The limits of Kube-OVN's script. For an import: no pass needs them. Absent: there are none. */
  readScripted?(signal: AbortSignal): Promise<ScriptedQos>;
  /** In order. Throws if the table was not written. */
  apply(steps: readonly QosStep[], signal: AbortSignal): Promise<readonly DriverFailure<QosStep>[]>;
}

/** Reads and writes the table that counts the traffic of EIPs. */
export interface AccountingDriver {
  /** `undefined`: this kernel cannot count, or refused to. */
  observe(signal: AbortSignal): Promise<ObservedAccounting | undefined>;
  /** True if the table is as it was at the last reading, whatever it counted. */
  isCurrent(signal: AbortSignal): Promise<boolean>;
  /** In order. Counters of a table that is made again go on. Throws if a result is unknown. */
  apply(
    steps: readonly AccountingStep[],
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<AccountingStep>[]>;
  /** True if the table was there at the last reading. */
  readonly isCounting: boolean;
  /** What the kernel counts now. Empty where it does not count. */
  readCounts(signal: AbortSignal): Promise<RawCounts>;
}

/** Reads and writes what keeps the API's ports closed. */
export interface ApiGuardDriver {
  observe(signal: AbortSignal): Promise<ApiGuardObserved>;
  isCurrent(signal: AbortSignal): Promise<boolean>;
  /** Throws if the kernel does not have it then. */
  write(step: ApiGuardStep, signal: AbortSignal): Promise<void>;
  /** Puts it in place outside of passes: before the API listens, and while no pass can run. Throws if it cannot. */
  ensure(): Promise<void>;
  /** The kernel's counter of dropped packets, as {@link RulesDriver.readDrops}. */
  readDrops(signal: AbortSignal): Promise<DropCounts>;
}

/** A step that the kernel refused, with its error text. */
export interface DriverFailure<Step> {
  readonly step: Step;
  readonly code: string;
  readonly message: string;
}

/** How full the conntrack table is. */
export interface ConntrackStats {
  /** Entries of this network namespace. `undefined` if conntrack is not active (yet). */
  readonly count: number | undefined;
  /** Maximum entries per namespace. Above it new flows are dropped. */
  readonly max: number | undefined;
}

export interface ConntrackDriver {
  /**
   * Searches the table, matching while decoding. `flows` has the first `limit` matches, `total` counts all.
   *
   * @param ends set if every match has one of these addresses: the kernel may then filter by them
   */
  find(
    matches: FlowPredicate,
    limit: number,
    signal: AbortSignal,
    ends?: readonly FlowEnd[],
  ): Promise<{ readonly flows: readonly Flow[]; readonly total: number }>;
  /**
   * Deletes by original tuple and zone, each only while it still is that flow (CTA_ID). A flow that is already gone is
   * a success.
   */
  remove(flows: readonly Flow[], signal: AbortSignal): Promise<{ readonly removed: number }>;
  /** How full the table is. Throws `unreadable`. */
  readStats(signal: AbortSignal): Promise<ConntrackStats>;
}

export interface AddressOnLink {
  readonly interface: InterfaceName;
  readonly address: Ip;
}

/**
 * Why the agent probes for an address. `take`: it is to be added, so any host that claims it or probes for it is in the
 * way. `keep`: this gateway holds it, and only a reply proves another holder.
 */
export type ProbePurpose = "take" | "keep";

export interface ProbeResult {
  /** The MAC of the other host that is in the way, by address. */
  readonly others: ReadonlyMap<Ip, Mac>;
  /** Addresses that could not be probed because the link is missing or down. Nothing is known about them. */
  readonly unsent: ReadonlySet<Ip>;
}

/** An ARP packet from another host. */
export interface HeardArp {
  readonly interface: InterfaceName;
  readonly packet: ArpPacket;
}

export interface Announcer {
  /** Probes for other holders of all addresses in parallel: one frame per address if a host replies, else two. */
  probe(
    addresses: readonly AddressOnLink[],
    purpose: ProbePurpose,
    signal: AbortSignal,
  ): Promise<ProbeResult>;
  /** What other hosts sent on these links since the last call. The first call for a link starts listening. */
  hear(links: ReadonlySet<InterfaceName>): readonly HeardArp[];
  /** Queues gratuitous ARP for each: now and again over some seconds. Returns at once. */
  announce(addresses: readonly AddressOnLink[]): void;
  stop(): Promise<void>;
}
