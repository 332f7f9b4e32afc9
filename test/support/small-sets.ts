/** For tests that compile a set of a few objects. */
import type { CompileContext } from "../../lib/kinds/compilation.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";
import type { StateChange } from "../../lib/state/state.ts";

/** A gateway about which nothing special is known. */
export const compileContext = {
  family: ipv4,
  vpcInterface: "eth0",
  externalInterface: "net1",
  ownAddresses: new Set(),
  expiredLeases: new Set(),
  addressConflicts: new Map(),
  quarantined: new Map(),
  missingInterfaces: new Set(),
  connectedSubnets: [],
} as unknown as CompileContext;

/** A write of one object. `creation` is also its revision. */
export function put(kind: string, spec: object, creation: number): StateChange {
  return { type: "put", kind, object: { spec, revision: creation, creation } } as unknown as StateChange;
}
