/**
 * The planner of a dataplane's rules. Each dataplane has one. It is pure and separate from the driver that reads and
 * writes the rules.
 */
import type { Chunked } from "../chunked.ts";
import type { Change } from "../model/change.ts";
import type { Ip } from "../model/ip.ts";
import type { Kind, ObjectId } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import type { Chain, Hook } from "../netfilter/chain.ts";
import type { GateContext } from "./gate-state.ts";
import type { GuardDifference } from "./guard.ts";
import type { Phase } from "./phases.ts";

/** `changes` describes for people what `payload` does. It is empty exactly if `payload` does nothing. */
export interface RulesPlan<Payload> {
  readonly changes: readonly Change[];
  readonly payload: Payload;
}

/** Something of guard or gates, and when it is due: what opens the gate comes last. */
export interface GatePart<Payload> extends RulesPlan<Payload> {
  readonly phase: Phase;
}

/** A chain in a shared table that the kernel calls and that jumps to a chain of the agent. */
export interface SharedChain {
  /** `ip nat`. */
  readonly table: string;
  readonly name: string;
  readonly hook: Hook;
  readonly target: string;
  /** The kinds that do not work while it has no effect. */
  readonly serves: readonly Kind[];
}

/** What else in netfilter the rules depend on. */
export interface NetfilterContext {
  /** Empty if the agent's own table has everything it needs. */
  readonly shared: readonly SharedChain[];
  /** Foreign chains that were read with the rules. */
  readonly chains: readonly Chain[];
  /** True if DNATs with a list of backends are translated by a chain of their own, behind the one for all else. */
  readonly hasBackendsTable?: boolean;
}

/** The meaning of one dataplane's rules. Every function is pure. `Observed` and `Payload` belong to the dataplane. */
export interface RulesPlanner<Observed = unknown, Payload = unknown> {
  /** Makes the rules those of the program, without guard and gates. On its own result it plans nothing. */
  plan(program: Program, observed: Observed): RulesPlan<Payload>;
  /** The same in chunks, between which the event loop can run. */
  planChunked(program: Program, observed: Observed): Chunked<RulesPlan<Payload>>;
  /** Guard and gates alone, each part in its phase. On its own result it plans nothing. */
  planGateChunked(
    program: Program,
    observed: Observed,
    gates: GateContext,
  ): Chunked<readonly GatePart<Payload>[]>;
  /**
   * From one part of a program to another, both without pools, where no rule outside of them depends on theirs. Other rules
   * are not looked at. On its own result it plans nothing.
   *
   * @param guard what the part needs of the guard, and what no object uses any more
   * @returns `undefined` where it takes a plan of the whole
   */
  planPart(
    from: Program,
    to: Program,
    observed: Observed,
    guard: GuardDifference,
  ): RulesPlan<Payload> | undefined;
  /** Looks at a reading in parts before {@link planPart}, which takes long otherwise. */
  preparePart?(from: Program, to: Program, observed: Observed): Chunked<void>;
  /** Joins two payloads planned on one observation into one: `first`, then `second`. */
  join(first: Payload, second: Payload): Payload;
  /** True if `payload` contains each transaction of `part` unchanged. */
  includes(payload: Payload, part: Payload): boolean;
  /** What each object lacks, as text. Complete objects are absent. */
  missing(program: Program, observed: Observed): ReadonlyMap<ObjectId, string>;
  /** The same in chunks. */
  missingChunked(program: Program, observed: Observed): Chunked<ReadonlyMap<ObjectId, string>>;
  /** Objects for which no rules are planned, because this kernel cannot do what they are, with the reason. */
  unsupported?(program: Program, observed: Observed): ReadonlyMap<ObjectId, string>;
  /** True if an owned chain, table or map has anything of an object. Fixed rules, guard and gates do not count. */
  holdsObjects(observed: Observed): boolean;
  /** True if no owned chain, table or map has any rule, fixed ones included. Guard and gates do not count. */
  isPristine(observed: Observed): boolean;
  /** True if the kernel tells that a set was accepted, also if it had no object. */
  wasSet(observed: Observed): boolean;
  isGateClosed(observed: Observed): boolean;
  isBfdGateClosed(observed: Observed): boolean;
  /** True if the gate, while it is closed, drops only what is not translated. Without nf_tables it drops everything. */
  isGateSelective(observed: Observed): boolean;
  /** True if the gate as it is may drop what is translated. */
  mayDropTranslated(program: Program, observed: Observed): boolean;
  /** The IPs on this gateway that owned rules have as EIP. They are the agent's, whatever the ledger says. */
  eipsNamed(observed: Observed): ReadonlySet<Ip>;
  /** Looks at a reading in parts. What it finds is kept for the functions above, which take long otherwise. */
  prepare?(observed: Observed): Chunked<void>;
  /** The number of owned rules or elements that were read. */
  countRules(observed: Observed): number;
  netfilterContext(observed: Observed): NetfilterContext;
  /**
   * Foreign rules that contain `address`, as the tool prints them.
   *
   * @param others what was read of all tools; each rule is listed once. Absent: only what the dataplane's tool prints
   */
  foreignRulesNaming(observed: Observed, address: Ip, others?: readonly Chain[]): readonly string[];
}
