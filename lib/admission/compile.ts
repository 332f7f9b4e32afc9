/**
 * From what is desired to what is to be programmed: clashes decided, references resolved, leases and conflicts taken
 * out. Pure and linear; runs in every pass.
 */
import type { Desired } from "../model/desired.ts";
import type { Ipv4 } from "../model/ipv4.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import type { Reason } from "../model/status.ts";
import type { Facts } from "./clashes.ts";

export interface CompileContext extends Facts {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** Eips whose lease ran out. */
  readonly expiredLeases: ReadonlySet<ObjectName>;
  /** The MAC that answered for an address, where the address is not held by this gateway already. */
  readonly addressConflicts: ReadonlyMap<Ipv4, string>;
  /** Objects that the kernel refused, with its words. */
  readonly quarantined: ReadonlyMap<ObjectId, string>;
  /** Interfaces that are not in this namespace. */
  readonly missingInterfaces: ReadonlySet<InterfaceName>;
}

export interface Compiled {
  readonly program: Program;
  /** What stays out of the program, and why. */
  readonly blocked: ReadonlyMap<ObjectId, Block>;
  /** Objects that are in order without a rule of their own: Ready once their Eip is. */
  readonly idle: ReadonlyMap<ObjectId, Idle>;
  /** The stored users of each Eip's name, clashing ones too: FIPs, SNATs, DNATs, each by creation. */
  readonly usedBy: ReadonlyMap<ObjectName, readonly ObjectId[]>;
}

/** Why an object is not programmed. No pass will change that before something else does: who waits is answered. */
export interface Block {
  /** False for a clash alone: all else is accepted and waits for the world to change. */
  readonly isAccepted: boolean;
  readonly reason: Reason;
  readonly message: string;
}

export interface Idle {
  readonly reason: "Standby" | "NoBackends";
  readonly message: string;
}

export function compile(desired: Desired, context: CompileContext): Compiled {
  throw new TypeError(`not built yet: ${desired} ${context}`);
}
