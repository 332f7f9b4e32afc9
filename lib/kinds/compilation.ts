/** What the kinds are compiled with, and what they leave behind besides their part of the program. */
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../model/names.ts";
import type { Program, ProgramEip } from "../model/program.ts";
import type { Reason } from "../model/status.ts";
import type { Clash } from "./clash.ts";
import type { Facts } from "./facts.ts";

export interface CompileContext extends Facts {
  /** Of the program to make. */
  readonly family: Family;
  /** Eips whose lease ran out. */
  readonly expiredLeases: ReadonlySet<ObjectName>;
  /** The MAC that answered for an address, where the address is not held by this gateway already. */
  readonly addressConflicts: ReadonlyMap<Ip, string>;
  /** Addresses about which the wire is being asked: the answer decides, and wakes another pass. */
  readonly probing?: ReadonlySet<Ip>;
  /** Objects that the kernel refused, with its words. */
  readonly quarantined: ReadonlyMap<ObjectId, string>;
  /** Interfaces that are not in this namespace. */
  readonly missingInterfaces: ReadonlySet<InterfaceName>;
}

/** A set being compiled, kind by kind. */
export interface Compilation {
  readonly context: CompileContext;
  readonly clashes: ReadonlyMap<ObjectId, Clash>;
  readonly blocked: Map<ObjectId, Block>;
  readonly idle: Map<ObjectId, Idle>;
  readonly shadowed: Map<ObjectId, ObjectId>;
  /** The Eips that rules may name, by name, in order of creation. */
  readonly eips: Map<ObjectName, ProgramEip>;
  /** As far as the kinds before made it. */
  program: Program;
}

/**
 * Why an object is not programmed. `Pending`: the next pass will know more. Any other reason: no pass will change that
 * before something else does, and who waits is answered.
 */
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
