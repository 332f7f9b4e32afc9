/** What an explanation is based on: one reading of the kernel, and what is known beside it. */
import type { Flow, FlowPredicate } from "../conntrack/flow.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import type { Reason } from "../model/status.ts";
import type { Chain } from "../netfilter/chain.ts";
import type { SilentHop } from "../plan/reach/next-hops.ts";
import type { RouteLookup } from "../plan/reach/route-lookup.ts";
import type { Desired } from "../state/desired.ts";
import type { OwnRules } from "./own-rules.ts";
import type { TakenPorts } from "./ports.ts";
import type { Subnet } from "./subnets.ts";

export interface World {
  readonly program: Program;
  readonly desired: Desired;
  /** By address. */
  readonly eipNames: ReadonlyMap<Ip, ObjectName>;
  /** Why an object is not Ready. `undefined` if it is, or if nothing is known. */
  readonly reasonOf: (id: ObjectId) => ObjectReason | undefined;
  readonly network: ObservedNetwork;
  /** Longest first. */
  readonly subnets: readonly Subnet[];
  readonly routes: RouteLookup;
  readonly silentHops: readonly SilentHop[];
  readonly outsides: readonly InterfaceName[];
  readonly chains: readonly Chain[];
  readonly own: OwnRules;
  readonly gate: GateNow;
  readonly flows: FoundFlows;
  /** True for flows that no desired object permits. */
  readonly contradicts: FlowPredicate;
}

export interface ObjectReason {
  readonly reason: Reason;
  readonly message: string;
}

export interface GateNow {
  readonly isClosed: boolean;
  /** True if it lets pass what is translated. */
  readonly isSelective: boolean;
  readonly rule: string;
}

/** What the conntrack table has. */
export interface FoundFlows {
  /** The flow that the packet belongs to, if the question names all of it. */
  readonly exact: Flow | undefined;
  /** Flows between the same ends with other source ports: the first few. */
  readonly similar: readonly Flow[];
  readonly similarTotal: number;
  /** The ports that each EIP uses towards the destination. `undefined`: not asked for. */
  readonly portsUsed: ReadonlyMap<Ip, TakenPorts> | undefined;
}
