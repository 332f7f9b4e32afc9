/** What planning goes by: values only. */

import type { SubsystemName } from "../model/change.ts";
import type { GatewayError } from "../model/errors.ts";
import type { GatewayConfig } from "../model/gateway-config.ts";
import type { Ip } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import type { ObjectId, ObjectName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import type { AddressPlan } from "./address-plan.ts";
import type { GateState, RulesBeside } from "./rules-planner.ts";

/** What one reading of the kernel tells all subsystems, whoever read it. */
export interface KernelFacts {
  readonly network: ObservedNetwork;
  /** The IPs that owned rules name as EIP; of the last reading where the rules cannot be read now. */
  readonly eipsNamedByRules: ReadonlySet<Ip>;
  readonly ruleCount: number;
  /** An owned chain, table or map holds something of an object. Guard and gate do not count. */
  readonly holdsObjects: boolean;
  /** No owned chain, table or map holds any rule: a fresh namespace. Guard and gate do not count. */
  readonly isPristine: boolean;
  readonly isGateClosed: boolean;
  /** Another dataplane, which served before, holds something of an object. */
  readonly previousHoldsObjects: boolean;
  /** Another dataplane, which served before, left something behind. */
  readonly isPreviousPresent: boolean;
  /** Absent before the rules were read. */
  readonly beside?: RulesBeside;
}

/** The kernel as one reading found it. */
export interface Snapshot {
  readonly facts: KernelFacts;
  /** What each subsystem read, which only its own planner understands. */
  readonly observed: ReadonlyMap<SubsystemName, unknown>;
  /** The subsystems that could not be read, with why. */
  readonly unread: ReadonlyMap<SubsystemName, GatewayError>;
}

/** What is known besides what was read. */
export interface PlanContext {
  readonly config: GatewayConfig;
  readonly gate: GateState;
  /** All else is verified: what waited for that may be planned. */
  readonly isVerified: boolean;
  /** The gateway's own addresses as last known: a stray rule that names one makes it no EIP. */
  readonly knownOwn: ReadonlySet<Ip>;
  readonly expiredLeases: ReadonlySet<ObjectName>;
  /** Addresses about which the wire is being asked before they are added. */
  readonly probing: ReadonlySet<Ip>;
  /** Who answered for an address that is not held here: the MAC. */
  readonly addressConflicts: ReadonlyMap<Ip, string>;
  /** Who else claims an address that is held here: the MAC. */
  readonly heldConflicts: ReadonlyMap<Ip, string>;
  /** Objects that the kernel refused, with its words. */
  readonly quarantined: ReadonlyMap<ObjectId, string>;
}

/** What every subsystem plans on. */
export interface PlanInput {
  readonly program: Program;
  readonly facts: KernelFacts;
  readonly context: PlanContext;
  /** Of this epoch. */
  readonly ledger: Ledger;
  /** The gateway's own addresses. */
  readonly own: ReadonlySet<Ip>;
  /** What is to be held, added and removed: also the ledger and the flows go by it. */
  readonly addresses: AddressPlan;
}
