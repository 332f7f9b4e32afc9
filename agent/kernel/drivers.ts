/**
 * The seams between the reconciler and the world. Each driver observes into values of `lib/model/` and applies
 * what a planner of `lib/plan/` decided; none decides by itself. All throw `GatewayError`s (lib/model/errors.ts): a read that
 * was cut short throws too, so that an unreadable table is never taken for an empty one.
 */

import type { Chunked } from "../../lib/chunked.ts";
import type { FlowEnd } from "../../lib/conntrack/ends.ts";
import type { Flow, FlowPredicate } from "../../lib/conntrack/flow.ts";
import type { Change } from "../../lib/model/change.ts";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import type { InterfaceName, ObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Program } from "../../lib/model/program.ts";
import type { AddressStep } from "../../lib/plan/network/addresses.ts";
import type { RouteStep } from "../../lib/plan/network/routes.ts";
import type { SysctlStep } from "../../lib/plan/network/sysctls.ts";

/** Whether traffic from the VPC to the outside is held back. */
export type GateState = "open" | "closed";

/**
 * What a dataplane would do to its rules. `steps` is the driver's own payload, opaque to the reconciler;
 * `changes` says the same for people, and is empty exactly where `steps` has nothing to do.
 */
export interface RulePlan<Steps = unknown> {
  readonly changes: readonly Change[];
  readonly steps: Steps;
}

/** Rules of one kind of dataplane: iptables in its two variants, or nftables. Gate and guard included. */
export interface Dataplane<Observed = unknown, Steps = unknown> {
  readonly backend: "iptables-nft" | "iptables-legacy" | "nftables";
  observe(signal: AbortSignal): Promise<Observed>;
  /** True where an owned chain, table or map holds anything of an object: first contact asks. Gate and guard do not count. */
  holdsRules(observed: Observed): boolean;
  /** The IPs on this gateway that owned rules name as EIP: they belong to the agent whatever the ledger says. */
  eipsIn(observed: Observed): ReadonlySet<Ipv4>;
  isGateClosed(observed: Observed): boolean;
  /** True where no owned chain, table or map holds any rule, the fixed frame included: a fresh namespace. Gate and guard do not count. */
  isPristine(observed: Observed): boolean;
  /** How many owned rules or elements were read. */
  countRules(observed: Observed): number;
  /** Rules that are not the agent's and name `address`, in the words of the tool. */
  foreignRulesNaming(observed: Observed, address: Ipv4): readonly string[];
  /** Pure. Rules, hooks, guard and the gate as asked; on what it made, it plans nothing. */
  plan(program: Program, observed: Observed, gate: GateState): RulePlan<Steps>;
  /** The same, in parts. */
  planChunked(program: Program, observed: Observed, gate: GateState): Chunked<RulePlan<Steps>>;
  /** One transaction a table. Throws `rules-refused` where the kernel refused it: then nothing of that table was changed. */
  apply(plan: RulePlan<Steps>, signal: AbortSignal): Promise<void>;
  /** Pure. What the program asks for and `observed` lacks, by object, in readable words. Objects wholly there are absent. */
  missing(program: Program, observed: Observed): ReadonlyMap<ObjectId, string>;
  /** Present where the kernel can prove that nobody changed the rules. */
  readonly shortcut?: IncrementalRules<Observed, Steps>;
}

/** What makes the change of a few objects cheap among many. */
export interface IncrementalRules<Observed = unknown, Steps = unknown> {
  /** The last reading, where it is proved to be true still; `undefined` where only another reading can tell. */
  current(signal: AbortSignal): Promise<Observed | undefined>;
  /** The last reading to plan a part on, where it is proved to be true still or {@link readBack} will prove that it was. */
  base(signal: AbortSignal): Promise<Observed | undefined>;
  /**
   * Pure. From one part of a program to another, both without pools, where no rule outside of them depends on theirs. What
   * else the kernel holds is not looked at; on what the plan made, it plans nothing.
   */
  planPart(from: Program, to: Program, observed: Observed): RulePlan<Steps>;
  /** What is there after what was applied to {@link base}; `undefined` where anything else was changed besides. */
  readBack(signal: AbortSignal): Promise<Observed | undefined>;
}

/** Another dataplane that may have served in this namespace. */
export interface PreviousDataplane {
  /** True where it holds anything of an object: somebody may rely on it. */
  holdsRules(signal: AbortSignal): Promise<boolean>;
  /** Takes out all that it owns, one transaction a table. @returns what was taken out */
  clear(signal: AbortSignal): Promise<readonly Change[]>;
}

/** Links, addresses, routes and sysctls of this namespace. */
export interface NetworkDriver {
  observe(signal: AbortSignal): Promise<ObservedNetwork>;
  applySysctls(
    steps: readonly SysctlStep[],
    signal: AbortSignal,
  ): Promise<readonly StepFailure<SysctlStep>[]>;
  /** Applies each step whatever becomes of the others. An address that is there already, or gone already, is a success. */
  applyAddresses(
    steps: readonly AddressStep[],
    signal: AbortSignal,
  ): Promise<readonly StepFailure<AddressStep>[]>;
  applyRoutes(steps: readonly RouteStep[], signal: AbortSignal): Promise<readonly StepFailure<RouteStep>[]>;
}

/** A step that the kernel refused, with its words. */
export interface StepFailure<Step> {
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
  readonly address: Ipv4;
}

export interface Announcer {
  /** Asks who else holds each address, all in parallel. @returns the MAC that answered, by address. */
  probe(addresses: readonly AddressOnLink[], signal: AbortSignal): Promise<ReadonlyMap<Ipv4, string>>;
  /** Who claimed addresses on these links since the last call, by address. The first call for a link begins to listen. */
  hear(links: ReadonlySet<InterfaceName>): ReadonlyMap<Ipv4, string>;
  /** Queues gratuitous ARP for each: now, then spaced over seconds. Returns at once. */
  announce(addresses: readonly AddressOnLink[]): void;
  stop(): Promise<void>;
}
