/**
 * The reach subsystem: checks by links and routes whether packets get from one side to the other. It has no steps:
 * other subsystems repair what is the agent's.
 */
import { type Chunked, forEachChunked, runSync } from "../../chunked.ts";
import { type Memoizer, memory } from "../../memoize.ts";
import type { Degradation } from "../../model/degradation.ts";
import type { InterfaceName, Kind, ObjectId } from "../../model/names.ts";
import type { ObservedNetwork, ObservedPaths, PolicyRule } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import { outsideInterfaces } from "../gate/filter-tables.ts";
import { translatingKinds } from "../gate/planner.ts";
import { routeText } from "../network/routes.ts";
import type { PlanInput } from "../plan-input.ts";
import {
  noObstacles,
  type Obstacle,
  type Obstacles,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "../subsystem.ts";
import { conflictingRoutes, reverseFiltered } from "./conflicts.ts";
import { linkFault, linkNotices } from "./links.ts";
import { type HiddenHop, hiddenHops, nextHopNotices, type SilentHop } from "./next-hops.ts";
import { checkReach, type ReachResult } from "./reach-check.ts";
import { compileRouteLookup, type RouteLookup } from "./route-lookup.ts";

export interface ReachObserved {
  readonly network: ObservedNetwork;
  readonly paths: ObservedPaths;
  /** The routers that do not answer. */
  readonly silentHops: readonly SilentHop[];
}

/** @param memoizer with {@link noMemory} the plans are the same, without caching */
export function createReachPlanner(memoizer: Memoizer = memory): SubsystemPlanner<ReachObserved, never> {
  const compile = memoizer.lastChunked(compileRouteLookup);
  function* reachOf(program: Program, { network, paths, silentHops }: ReachObserved) {
    const lookup = yield* compile(network, paths, program.family);
    return { lookup, ...(yield* checkReach(program, network.routes, lookup, silentHops)) };
  }
  function* planChunked({ program }: PlanInput, observed: ReachObserved): Chunked<SubsystemPlan<never>> {
    const result = yield* reachOf(program, observed);
    const outside = yield* outsideInterfaces(program);
    return subsystemPlan<never>([], () => obstaclesIn(program, observed, result, outside), {
      notices: yield* notices(
        program,
        observed,
        result,
        outside,
        hiddenHops(program, observed.network, result.lookup),
      ),
    });
  }
  function* obstaclesTo(part: Program, observed: ReachObserved): Chunked<Obstacles> {
    const outside = yield* outsideInterfaces(part);
    return yield* obstaclesIn(part, observed, yield* reachOf(part, observed), outside);
  }
  return {
    name: "reach",
    title: "routes, policy rules and next hops",
    serves: translatingKinds,
    plan: (input, observed) => runSync(planChunked(input, observed)),
    planChunked,
    obstaclesTo: (part, observed) => runSync(obstaclesTo(part, observed)),
    withNetwork: (observed, network) => ({ ...observed, network }),
    reads: ({ program }) => [program],
  };
}

/** A missing interface has no routes either. Only the interface is reported. */
function* obstaclesIn(
  program: Program,
  { network }: ReachObserved,
  { misrouted }: ReachResult,
  outside: readonly InterfaceName[],
): Chunked<Obstacles> {
  const objects = new Map<ObjectId, Obstacle>();
  const kinds = new Map<Kind, Obstacle>();
  const faults = new Map(outside.map((name) => [name, linkFault(network.links, name)]));
  const affected = faults.values().some((fault) => fault) ? program.eips : [];
  yield* forEachChunked(affected, lookedAtOnce, ({ id, interface: name }) => {
    const fault = faults.get(name);
    if (fault !== undefined) objects.set(id, { condition: "Ready", ...fault });
  });
  const vpcFault = linkFault(network.links, program.vpcInterface);
  if (vpcFault !== undefined)
    for (const kind of translatingKinds) kinds.set(kind, { condition: "Ready", ...vpcFault });
  else
    yield* forEachChunked(misrouted, lookedAtOnce, ([id, message]) => {
      objects.set(id, { condition: "Ready", reason: "NoRoute", message });
    });
  return objects.size + kinds.size === 0 ? noObstacles : { objects, kinds };
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

function* notices(
  program: Program,
  { network, paths, silentHops }: ReachObserved,
  { uncertainRules, cutOff, lookup }: ReachResult & { readonly lookup: RouteLookup },
  outside: readonly InterfaceName[],
  hidden: readonly HiddenHop[],
): Chunked<readonly Degradation[]> {
  const routes = yield* conflictingRoutes(program, network, paths, outside, lookup.isLocal);
  const unnamed = hidden.filter(
    ({ choice: { route, rule } }) =>
      (route === undefined || !routes.includes(route)) && (rule === undefined || !uncertainRules.has(rule)),
  );
  const first = [
    ...routes.slice(0, 1).map((route) => `ip route: ${routeText(route)}`),
    ...Array.from(uncertainRules, ({ text }: PolicyRule) => `ip rule: ${text}`),
    ...unnamed.map(({ via, interface: name, why }) => `${via} is not reached through ${name}: ${why}`),
  ][0];
  const conflicts = routes.length + uncertainRules.size + unnamed.length;
  const filtered = reverseFiltered(network, outside, program.family);
  const more = conflicts > 1 ? `, and ${conflicts - 1} more` : "";
  return [
    ...(yield* nextHopNotices(network, silentHops, cutOff)),
    ...linkNotices(network.links, [program.vpcInterface, ...outside]),
    ...(first === undefined
      ? []
      : [{ reason: "RouteConflict" as const, message: `may send packets the wrong way: ${first}${more}` }]),
    ...(filtered.length === 0
      ? []
      : [
          {
            reason: "ReversePathFilter" as const,
            message: `rp_filter=1 on ${filtered.join()} drops packets from addresses that are routed by another interface`,
          },
        ]),
  ];
}
