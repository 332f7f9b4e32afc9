/**
 * Everything that a pass would do, as data: the desired state, what was read and what is known besides, put through the
 * compiler and every planner. The pass, its verification, `GET /v1/plan` and dry runs all see the gateway through it.
 */
import { type Compiled, compile } from "../../lib/admission/compile.ts";
import type { State } from "../../lib/admission/state.ts";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import {
  type AddressPlan,
  describeAddressStep,
  ownAddresses,
  planAddresses,
} from "../../lib/plan/addresses.ts";
import type { Change } from "../../lib/plan/change.ts";
import { describeRouteStep, planRoutes, type RoutePlan } from "../../lib/plan/routes.ts";
import { describeSysctlStep, planSysctls, type SysctlStep } from "../../lib/plan/sysctls.ts";
import type { Dataplane, GateState, RulePlan } from "../kernel/seams.ts";

/** The kernel as one reading found it. */
export interface Seen {
  readonly network: ObservedNetwork;
  /** The dataplane's own; opaque here. */
  readonly rules: unknown;
}

/** What the gateway is, whatever is desired. */
export interface Frame {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** `GATEWAY_V4`. */
  readonly fallbackGateway: Ipv4 | undefined;
}

/** What is known of the world besides what was read just now. */
export interface Circumstances {
  readonly gate: GateState;
  readonly expiredLeases: ReadonlySet<ObjectName>;
  readonly probing: ReadonlySet<Ipv4>;
  readonly addressConflicts: ReadonlyMap<Ipv4, string>;
  readonly quarantined: ReadonlyMap<ObjectId, string>;
}

export interface Outlook {
  readonly compiled: Compiled;
  /** The gateway's own addresses. */
  readonly own: ReadonlySet<Ipv4>;
  readonly rules: RulePlan;
  readonly sysctls: readonly SysctlStep[];
  readonly addresses: AddressPlan;
  readonly routes: RoutePlan;
  /** All of the above for people, in the order in which it would be applied. */
  readonly changes: readonly Change[];
}

const noAddresses: ReadonlySet<Ipv4> = new Set();

/** Pure. `state.ledger` is of this epoch. */
export function lookAhead(
  dataplane: Dataplane,
  frame: Frame,
  state: State,
  seen: Seen,
  circumstances: Circumstances,
): Outlook {
  const { network } = seen;
  const ownedByRules = dataplane.eipsIn(seen.rules);
  const { ledger } = state;
  const own = ownAddresses({ observed: network, ledger, ownedByRules, vpcInterface: frame.vpcInterface });
  const compiled = compile(state.desired, {
    ...frame,
    ...circumstances,
    ownAddresses: own,
    missingInterfaces: missingInterfaces(frame, state, network),
  });
  const { program } = compiled;
  const rules = dataplane.plan(program, seen.rules, circumstances.gate);
  const sysctls = planSysctls(program, network);
  const addresses = planAddresses({ program, observed: network, ledger, ownedByRules, keep: noAddresses });
  const routes = planRoutes({ program, observed: network });
  return {
    compiled,
    own,
    rules,
    sysctls,
    addresses,
    routes,
    changes: [
      ...rules.changes,
      ...sysctls.map(describeSysctlStep),
      ...addresses.add.map(describeAddressStep),
      ...routes.steps.map(describeRouteStep),
      ...addresses.remove.map(describeAddressStep),
    ],
  };
}

/** The interfaces that the frame or an Eip names and that are not in this namespace. */
function missingInterfaces(frame: Frame, state: State, network: ObservedNetwork): ReadonlySet<InterfaceName> {
  const missing = new Set([frame.vpcInterface, frame.externalInterface]);
  for (const { spec } of state.desired.eips.values())
    if (spec.interface !== undefined) missing.add(spec.interface);
  for (const { name } of network.links) missing.delete(name);
  return missing;
}
