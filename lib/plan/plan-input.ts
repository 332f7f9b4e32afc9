/** The input of planning: values only. */

import type { SubsystemName } from "../model/change.ts";
import type { GatewayError } from "../model/errors.ts";
import type { GatewayConfig } from "../model/gateway-config.ts";
import type { Ip } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import type { ObjectId, ObjectName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import type { AddressPlan } from "./address-plan.ts";
import type { Gates } from "./gate-state.ts";
import type { NetfilterContext } from "./rules-planner.ts";

/** Facts from one reading of the kernel that all subsystems share. */
export interface KernelFacts {
  readonly network: ObservedNetwork;
  /** The IPs that owned rules have as EIP. From the last reading if rules cannot be read now. */
  readonly eipsNamedByRules: ReadonlySet<Ip>;
  readonly ruleCount: number;
  /** True if an owned chain, table or map has something of an object. Guard and gates do not count. */
  readonly holdsObjects: boolean;
  /** True if no owned chain, table or map has any rule, as in a fresh namespace. Guard and gates do not count. */
  readonly isPristine: boolean;
  /** True if the table of rate limits has rules. */
  readonly holdsLimits: boolean;
  /** True if the kernel tells that a set was accepted, though it may have no object. */
  readonly wasSet: boolean;
  readonly isGateClosed: boolean;
  readonly isBfdGateClosed: boolean;
  /** True if the gate, while it is closed, drops only what is not translated. */
  readonly isGateSelective: boolean;
  /** True if another dataplane that served before still has something of an object. */
  readonly previousHoldsObjects: boolean;
  /** True if another dataplane that served before left anything behind. */
  readonly isPreviousPresent: boolean;
  /** Absent before the rules were read. */
  readonly netfilterContext?: NetfilterContext;
}

/** Before anything is read. */
export const unknownFacts: Omit<KernelFacts, "network"> = {
  eipsNamedByRules: new Set(),
  ruleCount: 0,
  holdsObjects: false,
  isPristine: false,
  holdsLimits: false,
  wasSet: false,
  isGateClosed: false,
  isBfdGateClosed: false,
  isGateSelective: true,
  previousHoldsObjects: false,
  isPreviousPresent: false,
};

/** The kernel as one reading found it. */
export interface Snapshot {
  readonly facts: KernelFacts;
  /** The reading of each subsystem. Only its own planner understands it. */
  readonly observed: ReadonlyMap<SubsystemName, unknown>;
  /** The subsystems that could not be read, with the error. */
  readonly unread: ReadonlyMap<SubsystemName, GatewayError>;
}

/** What is known besides the readings. */
export interface PlanContext extends Gates {
  /** True if the store is set. */
  readonly isSet?: boolean;
  readonly config: GatewayConfig;
  /** True if everything else is verified. Then what another dataplane left may be removed. */
  readonly isCleanupAllowed: boolean;
  /** The gateway's own addresses as last known. A stray rule with one of them does not make it an EIP. */
  readonly knownOwn: ReadonlySet<Ip>;
  readonly expiredLeases: ReadonlySet<ObjectName>;
  /** Addresses with an ARP probe in progress before they are added. */
  readonly probing: ReadonlySet<Ip>;
  /** Addresses not held here that another host answered for, with its MAC. */
  readonly addressConflicts: ReadonlyMap<Ip, string>;
  /** Addresses held here that another host answered for, too, with its MAC. */
  readonly heldConflicts: ReadonlyMap<Ip, string>;
  /** Objects that the kernel refused, with its error text. */
  readonly quarantined: ReadonlyMap<ObjectId, string>;
}

/** What every subsystem plans on. */
export interface PlanInput {
  readonly program: Program;
  readonly facts: KernelFacts;
  readonly context: PlanContext;
  /** The ledger of this epoch. */
  readonly ledger: Ledger;
  /** The gateway's own addresses. */
  readonly own: ReadonlySet<Ip>;
  /** Which addresses to hold, add and remove. The ledger and the flows need it too. */
  readonly addresses: AddressPlan;
  /** EIPs that are no longer to be held but may still have flows. The ledger and the flows need them. */
  readonly leaving: ReadonlySet<Ip>;
}
