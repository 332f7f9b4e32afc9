/** What a dataplane's rules are planned by: one planner for each, pure, apart from the driver that reads and writes them. */
import type { Chunked } from "../chunked.ts";
import type { Change } from "../model/change.ts";
import type { Ip } from "../model/ip.ts";
import type { Kind, ObjectId } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import type { Chain, Hook } from "../netfilter/chain.ts";

/** Whether traffic from the VPC to the outside is held back. */
export type GateState = "open" | "closed";

/** `changes` says for people what `payload` does; empty exactly where `payload` does nothing. */
export interface RulesPlan<Payload> {
  readonly changes: readonly Change[];
  readonly payload: Payload;
}

/** A chain in a table of everybody, which the kernel asks and which leads to a chain of the agent. */
export interface SharedChain {
  /** `ip nat`. */
  readonly table: string;
  readonly name: string;
  readonly hook: Hook;
  readonly target: string;
  /** What it keeps from working while it has no effect. */
  readonly serves: readonly Kind[];
}

/** What else in netfilter the rules depend on. */
export interface RulesBeside {
  /** None where the agent's own table has all that it needs. */
  readonly shared: readonly SharedChain[];
  /** Chains of others that were read with the rules. */
  readonly chains: readonly Chain[];
}

/** What one dataplane's rules mean. Every function is pure; `Observed` and `Payload` belong to the dataplane. */
export interface RulesPlanner<Observed = unknown, Payload = unknown> {
  /** What makes the rules those of the program, without guard and gate. On its own result it plans nothing. */
  plan(program: Program, observed: Observed): RulesPlan<Payload>;
  /** The same in parts that the event loop can run between. */
  planChunked(program: Program, observed: Observed): Chunked<RulesPlan<Payload>>;
  /** Guard and gate alone. On its own result it plans nothing. */
  planGate(program: Program, observed: Observed, gate: GateState): RulesPlan<Payload>;
  /**
   * From one part of a program to another, both without pools, where no rule outside of them depends on theirs. Other rules
   * are not looked at. On its own result it plans nothing.
   *
   * @returns `undefined` where it takes a plan of the whole
   */
  planPart(from: Program, to: Program, observed: Observed): RulesPlan<Payload> | undefined;
  /** Two payloads planned on one observation, as one for one write: `first`, then `second`. */
  join(first: Payload, second: Payload): Payload;
  /** True where `payload` holds each transaction of `part` unchanged. */
  includes(payload: Payload, part: Payload): boolean;
  /** What each object lacks, in words. Objects wholly there are absent. */
  missing(program: Program, observed: Observed): ReadonlyMap<ObjectId, string>;
  /** True where an owned chain, table or map holds anything of an object. Frame, guard and gate do not count. */
  holdsObjects(observed: Observed): boolean;
  /** True where no owned chain, table or map holds any rule, the frame included. Guard and gate do not count. */
  isPristine(observed: Observed): boolean;
  isGateClosed(observed: Observed): boolean;
  /** The IPs on this gateway that owned rules name as EIP: they belong to the agent whatever the ledger says. */
  eipsNamed(observed: Observed): ReadonlySet<Ip>;
  /** How many owned rules or elements were read. */
  countRules(observed: Observed): number;
  beside(observed: Observed): RulesBeside;
  /** Rules that are not the agent's and name `address`, in the words of the tool. */
  foreignRulesNaming(observed: Observed, address: Ip): readonly string[];
}
