import type { ApiGuard } from "../model/api-guard.ts";

export type GateState = "open" | "closed";

/** What is held back, as wanted or as found. */
export interface Gates {
  /** Closed: from the VPC to the outside nothing passes that is not translated. */
  readonly gate: GateState;
  /** Closed: no BFD session with the VPC comes up, so that nobody sends packets here because of one. */
  readonly bfd: GateState;
}

/** With what stands beside the gates where the kernel has no nf_tables. */
export interface GateContext extends Gates {
  /** True if the store is set. The kernel keeps that for an agent that has lost its state. */
  readonly isSet?: boolean;
  readonly apiGuard?: ApiGuard;
}

export function isSameGates(one: Gates, other: Gates): boolean {
  return one.gate === other.gate && one.bfd === other.bfd;
}
