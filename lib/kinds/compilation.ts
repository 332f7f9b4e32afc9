/** Input and output of compiling a kind, besides its part of the program. */
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../model/names.ts";
import type { Program, ProgramEip } from "../model/program.ts";
import type { Reason } from "../model/status.ts";
import type { Clash } from "./clash.ts";
import type { Facts } from "./facts.ts";

export interface CompileContext extends Facts {
  /** The family of the program to build. */
  readonly family: Family;
  /** Eips whose lease has expired. */
  readonly expiredLeases: ReadonlySet<ObjectName>;
  /** The MAC of the other host that answers ARP for an address. Only addresses that this gateway does not hold yet. */
  readonly addressConflicts: ReadonlyMap<Ip, string>;
  /** Addresses with an ARP probe in progress. Its result starts another pass. */
  readonly probing?: ReadonlySet<Ip>;
  /** Objects that the kernel refused, with its error text. */
  readonly quarantined: ReadonlyMap<ObjectId, string>;
  /** Interfaces that do not exist in this namespace. */
  readonly missingInterfaces: ReadonlySet<InterfaceName>;
}

/** A desired set during compilation, kind by kind. */
export interface Compilation {
  readonly context: CompileContext;
  readonly clashes: ReadonlyMap<ObjectId, Clash>;
  readonly blocked: Map<ObjectId, Block>;
  readonly idle: Map<ObjectId, Idle>;
  readonly shadowed: Map<ObjectId, ObjectId>;
  /** The Eips that rules may use, by name, in order of creation. */
  readonly eips: Map<ObjectName, ProgramEip>;
  /** The program as far as the earlier kinds have built it. */
  program: Program;
}

/**
 * Why an object is not programmed. With `Pending` the next pass knows more. With any other reason no pass changes it
 * until something else happens, so requests that wait are answered.
 */
export interface Block {
  /** False only for a clash. Every other blocked object is accepted and waits for an outside change. */
  readonly isAccepted: boolean;
  readonly reason: Reason;
  readonly message: string;
}

export interface Idle {
  readonly reason: "Standby" | "NoBackends";
  readonly message: string;
}
