/**
 * Scripts: what writers, other programs, other hosts, clients and faults do to a gateway, as data that shrinks and
 * prints well.
 */
import type { Kind } from "../../../lib/model/names.ts";
import type { BackendsHarm } from "./backends-table.ts";
import type { Fault } from "./kernel.ts";
import type { Transport } from "./tracer.ts";

/** A spec as JSON. The player adds the brands of the schemas. */
export type Plain = Readonly<Record<string, unknown>> & { readonly name: string };

export type Write =
  | { readonly do: "put"; readonly kind: Kind; readonly spec: Plain }
  | { readonly do: "remove"; readonly kind: Kind; readonly name: string }
  | { readonly do: "batch"; readonly put: readonly Typed[]; readonly remove: readonly Named[] }
  | { readonly do: "set"; readonly objects: readonly Typed[] }
  /** The heartbeat of Eips with a lease. */
  | { readonly do: "renew leases"; readonly names: readonly string[] };

export interface Typed {
  readonly kind: Kind;
  readonly spec: Plain;
}
export interface Named {
  readonly kind: Kind;
  readonly name: string;
}

export type Drift =
  /** Numbers are taken modulo the number of items. */
  | { readonly do: "delete rule"; readonly number: number }
  | { readonly do: "flush chain"; readonly number: number }
  | { readonly do: "flush nat" }
  | { readonly do: "stray rule"; readonly chain: string; readonly rule: string }
  | { readonly do: "foreign rule"; readonly table: "nat" | "mangle" | "filter" }
  | { readonly do: "double hook"; readonly chain: "PREROUTING" | "POSTROUTING" }
  /** To the table of backends, where there is one. */
  | { readonly do: "harm backends"; readonly harm: BackendsHarm; readonly number: number }
  | { readonly do: "delete address"; readonly number: number }
  | { readonly do: "foreign address"; readonly address: string; readonly prefixLength: 24 | 32 }
  | { readonly do: "self again" }
  | { readonly do: "delete default" }
  | { readonly do: "foreign default" }
  | { readonly do: "foreign route" }
  | { readonly do: "link"; readonly name: "eth0" | "net1"; readonly isUp: boolean }
  | { readonly do: "forwarding off" };

export interface Opening {
  readonly do: "open";
  /** A pod's number, or the outside host. */
  readonly from: 0 | 1 | "outside";
  /** An EIP's number, or the outside host. */
  readonly to: number | "outside";
  readonly transport: Transport;
  readonly port: number;
  readonly sourcePort: number;
}
/** One more packet of an existing flow, or an answer to it. A stray cannot start a flow. */
export interface Again {
  readonly do: "again";
  readonly number: number;
  readonly isAnswer: boolean;
  readonly isStray: boolean;
}

export type World =
  | { readonly do: "fault"; readonly fault: Fault; readonly at: number }
  | { readonly do: "disk full"; readonly isFull: boolean }
  | { readonly do: "claim"; readonly number: number; readonly isClaimed: boolean }
  | { readonly do: "slow wire"; readonly isSlow: boolean }
  | { readonly do: "time"; readonly ms: number }
  | { readonly do: "kill" };

/** What can happen at any moment, also in the middle of a pass. */
export type Act = Write | Drift | Opening | Again | World;

export type Step =
  | Act
  | { readonly do: "pass"; readonly isResync: boolean; readonly during: readonly Interruption[] }
  /** The pod is recreated: another namespace, the same disk. */
  | { readonly do: "renew" }
  /** The disk is lost, the namespace is not. */
  | { readonly do: "lose state" };

export interface Interruption {
  /** The moment of the pass at which it happens. */
  readonly at: number;
  readonly act: Act;
}
