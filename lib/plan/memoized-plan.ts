/**
 * The speed layer around lib/plan/plan.ts. It gives the same plan, but each part memoizes its last result by the
 * identity of what it read, so unchanged parts are not planned again. It also yields between parts, so that the event
 * loop runs. A test compares it with the plain version.
 */

import type { Chunked } from "../chunked.ts";
import { connectedSubnetsChunked, isSameSubnets } from "../kinds/facts.ts";
import {
  isSameMap,
  isSameSet,
  isSameSetChunked,
  memoizeLastChunked,
  stabilize,
  stabilizeChunked,
} from "../memoize.ts";
import type { SubsystemName } from "../model/change.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { State } from "../state/state.ts";
import { leavingEipsChunked } from "./network/leaving-eips.ts";
import {
  addressesOf,
  assembleChunked,
  compileInChunked,
  missingInterfaces,
  namedByRules,
  ownAddressesOf,
  type Plan,
  unreadPlan,
} from "./plan.ts";
import type { PlanContext, PlanInput, Snapshot } from "./plan-input.ts";
import type { SubsystemPlan, SubsystemPlanner } from "./subsystem.ts";

export type MemoizedPlan = (state: State, snapshot: Snapshot, context: PlanContext) => Chunked<Plan>;

export function memoizedPlan(planners: readonly SubsystemPlanner[]): MemoizedPlan {
  const stableNamed = stabilizeChunked<ReadonlySet<Ip>>(isSameSetChunked);
  const stableOwn = stabilizeChunked<ReadonlySet<Ip>>(isSameSetChunked);
  const stableMissing = stabilize<ReadonlySet<InterfaceName>>(isSameSet);
  const stableSubnets = stabilize(isSameSubnets);
  const stableContext = stabilize(compilesAlike);
  const ownOf = memoizeLastChunked(ownAddressesOf);
  const subnetsOf = memoizeLastChunked(connectedSubnetsChunked);
  const compiledIn = memoizeLastChunked(compileInChunked);
  const addresses = memoizeLastChunked(addressesOf, ({ add, remove }) => add.length + remove.length === 0);
  const leaving = memoizeLastChunked(leavingEipsChunked);
  const parts = planners.map((planner) => [planner, memoizedPart(planner)] as const);

  return function* (state, snapshot, context) {
    const { facts } = snapshot;
    const { config } = context;
    const { desired, ledger } = state;
    const named = yield* stableNamed(namedByRules(facts.eipsNamedByRules, context.knownOwn));
    yield;
    const own = yield* stableOwn(yield* ownOf(facts.network, ledger, named, config));
    yield;
    const missing = stableMissing(missingInterfaces(config, desired, facts.network));
    const subnets = stableSubnets(yield* subnetsOf(facts.network, own));
    const compiled = yield* compiledIn(desired, stableContext(context), own, missing, subnets);
    const { program } = compiled.compiled;
    yield;
    const input = {
      program,
      facts,
      context,
      ledger,
      own,
      addresses: yield* addresses(program, facts.network, ledger, named, own, config),
      leaving: yield* leaving(program, facts.network, facts.eipsNamedByRules, ledger, own),
    };
    yield;
    const planned: (readonly [SubsystemName, SubsystemPlan])[] = [];
    for (const [planner, part] of parts) {
      const error = snapshot.unread.get(planner.name);
      planned.push([
        planner.name,
        error === undefined
          ? yield* part(input, snapshot.observed.get(planner.name))
          : unreadPlan(planner, error),
      ]);
      yield;
    }
    return yield* assembleChunked(input, compiled, planned);
  };
}

/** Only the result "nothing to do" is worth keeping: it is asked for repeatedly, while steps are applied once. */
function memoizedPart(
  planner: SubsystemPlanner,
): (input: PlanInput, observed: unknown) => Chunked<SubsystemPlan> {
  let input: PlanInput | undefined;
  const recall = memoizeLastChunked(
    function* (observed: unknown, ..._read: readonly unknown[]): Chunked<SubsystemPlan> {
      if (input === undefined) throw new TypeError(`${planner.name} is planned without input`);
      return planner.planChunked === undefined
        ? planner.plan(input, observed)
        : yield* planner.planChunked(input, observed);
    },
    ({ steps }) => steps.every(({ changes }) => changes.length === 0),
  );
  return (next, observed) => {
    input = next;
    return recall(observed, ...planner.reads(next));
  };
}

/** True if the compiler gives the same result for a set in both contexts. */
function compilesAlike(one: PlanContext, other: PlanContext): boolean {
  return (
    one.config === other.config &&
    isSameSet(one.expiredLeases, other.expiredLeases) &&
    isSameSet(one.probing, other.probing) &&
    isSameMap(one.addressConflicts, other.addressConflicts) &&
    isSameMap(one.quarantined, other.quarantined)
  );
}
