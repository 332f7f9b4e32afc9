/**
 * Everything that a pass would do, as data: the desired state, what was read and what is known besides, put through the
 * compiler and every planner. The pass, its verification, `GET /v1/plan` and dry runs all see the gateway through it.
 */

import type { Chunked } from "../../../lib/chunked.ts";
import { type Compiled, compile } from "../../../lib/compile/compile.ts";
import type { CompileContext } from "../../../lib/kinds/compilation.ts";
import { type ConnectedSubnet, connectedSubnets, isSameSubnets } from "../../../lib/kinds/facts.ts";
import { isSameMap, isSameSet, memoizeLast, memoizeLastChunked, stabilize } from "../../../lib/memoize.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { Ledger } from "../../../lib/model/ledger.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { Program } from "../../../lib/model/program.ts";
import { type AddressPlan, describeAddressStep, planAddresses } from "../../../lib/plan/network/addresses.ts";
import type { Binding } from "../../../lib/plan/network/bindings.ts";
import { ownAddresses } from "../../../lib/plan/network/own-addresses.ts";
import { describeRouteStep, planRoutes, type RoutePlan } from "../../../lib/plan/network/routes.ts";
import { describeSysctlStep, planSysctls, type SysctlStep } from "../../../lib/plan/network/sysctls.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Dataplane, GateState, RulePlan } from "../../kernel/drivers.ts";

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
  readonly eipBinding: Binding;
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
  /** What the desired set was compiled with. */
  readonly context: CompileContext;
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

/** Asks nobody and changes nothing. `state.ledger` is of this epoch. */
export type LookAhead = (state: State, seen: Seen, circumstances: Circumstances) => Chunked<Outlook>;

/**
 * Puts all planners together. Each step remembers its last answer: what a pass sees twice, and what did not change
 * since the last one, is not planned again.
 */
export function createLookAhead(dataplane: Dataplane, frame: Frame): LookAhead {
  const keepNamed = stabilize<ReadonlySet<Ipv4>>(isSameSet);
  const namedByRules = memoizeLast((rules: unknown) => keepNamed(dataplane.eipsIn(rules)));
  const keepOwn = stabilize<ReadonlySet<Ipv4>>(isSameSet);
  const ownOf = memoizeLast((observed: ObservedNetwork, ledger: Ledger, ownedByRules: ReadonlySet<Ipv4>) =>
    keepOwn(ownAddresses({ observed, ledger, ownedByRules, vpcInterface: frame.vpcInterface })),
  );
  const keepSubnets = stabilize(isSameSubnets);
  const subnetsOf = memoizeLast((observed: ObservedNetwork, own: ReadonlySet<Ipv4>) =>
    keepSubnets(connectedSubnets(observed, own)),
  );
  const keepMissing = stabilize<ReadonlySet<InterfaceName>>(isSameSet);
  const keepCircumstances = stabilize(isSameGround);
  const compiledOf = memoizeLast(
    (
      desired: Desired,
      ground: Ground,
      ownAddresses: ReadonlySet<Ipv4>,
      subnets: readonly ConnectedSubnet[],
      missingInterfaces: ReadonlySet<InterfaceName>,
    ) => {
      const context = { ...frame, ...ground, ownAddresses, connectedSubnets: subnets, missingInterfaces };
      return { context, compiled: compile(desired, context) };
    },
  );
  // What is to be done is done once; that nothing is to be done is what is asked again and again.
  const rulesOf = memoizeLastChunked(
    (program: Program, rules: unknown, gate: GateState) => dataplane.planChunked(program, rules, gate),
    ({ changes }) => changes.length === 0,
  );
  const sysctlsOf = memoizeLast(planSysctls);
  const addressesOf = memoizeLast(
    (
      program: Program,
      observed: ObservedNetwork,
      ledger: Ledger,
      ownedByRules: ReadonlySet<Ipv4>,
      own: ReadonlySet<Ipv4>,
    ) =>
      planAddresses({
        program,
        observed,
        ledger,
        ownedByRules,
        own,
        keep: noAddresses,
        binding: frame.eipBinding,
      }),
    ({ add, remove }) => add.length + remove.length === 0,
  );
  const routesOf = memoizeLast((program: Program, observed: ObservedNetwork) =>
    planRoutes({ program, observed }),
  );

  // What was the gateway's own a moment ago is no EIP because a stray rule says so.
  let own: ReadonlySet<Ipv4> = new Set();

  return function* (state, { network, rules: observedRules }, { gate, ...ground }) {
    const { desired, ledger } = state;
    const ownedByRules = without(namedByRules(observedRules), own);
    own = ownOf(network, ledger, ownedByRules);
    yield;
    const missing = keepMissing(missingInterfaces(frame, state, network));
    const { compiled, context } = compiledOf(
      desired,
      keepCircumstances(ground),
      own,
      subnetsOf(network, own),
      missing,
    );
    const { program } = compiled;
    yield;
    const rules = yield* rulesOf(program, observedRules, gate);
    yield;
    const sysctls = sysctlsOf(program, network);
    const addresses = addressesOf(program, network, ledger, ownedByRules, own);
    yield;
    const routes = routesOf(program, network);
    yield;
    return {
      compiled,
      context,
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
  };
}

function without<T>(set: ReadonlySet<T>, others: ReadonlySet<T>): ReadonlySet<T> {
  return set.isDisjointFrom(others) ? set : set.difference(others);
}

/** The circumstances that the compiler looks at. */
type Ground = Omit<Circumstances, "gate">;

function isSameGround(one: Ground, other: Ground): boolean {
  return (
    isSameSet(one.expiredLeases, other.expiredLeases) &&
    isSameSet(one.probing, other.probing) &&
    isSameMap(one.addressConflicts, other.addressConflicts) &&
    isSameMap(one.quarantined, other.quarantined)
  );
}

/** The interfaces that the frame or an Eip names and that are not in this namespace. */
function missingInterfaces(frame: Frame, state: State, network: ObservedNetwork): ReadonlySet<InterfaceName> {
  const missing = new Set([frame.vpcInterface, frame.externalInterface]);
  for (const { spec } of state.desired.eips.values())
    if (spec.interface !== undefined) missing.add(spec.interface);
  for (const { name } of network.links) missing.delete(name);
  return missing;
}
