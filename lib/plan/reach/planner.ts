/**
 * The reach subsystem: checks by links and routes whether packets get from one side to the other. It has no steps:
 * other subsystems repair what is the agent's.
 */
import { type Memoizer, memory } from "../../memoize.ts";
import type { Degradation } from "../../model/degradation.ts";
import type { Kind, ObjectId } from "../../model/names.ts";
import type { ObservedNetwork, ObservedPaths, PolicyRule } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import { outsideInterfaces } from "../gate/barrier.ts";
import { translatingKinds } from "../gate/planner.ts";
import { routeText } from "../network/routes.ts";
import {
  noObstacles,
  type Obstacle,
  type Obstacles,
  type SubsystemPlanner,
  subsystemPlan,
} from "../subsystem.ts";
import { conflictingRoutes, reverseFiltered } from "./conflicts.ts";
import { linkFault, linkNotices } from "./links.ts";
import { type NextHop, nextHopNotices } from "./next-hops.ts";
import { checkReach, type ReachResult } from "./reach-check.ts";
import { compileRouteLookup } from "./route-lookup.ts";

export interface ReachObserved {
  readonly network: ObservedNetwork;
  readonly paths: ObservedPaths;
  /** The routers that do not answer. */
  readonly silentHops: readonly NextHop[];
}

/** @param memoizer with {@link noMemory} the plans are the same, without caching */
export function createReachPlanner(memoizer: Memoizer = memory): SubsystemPlanner<ReachObserved, never> {
  const compile = memoizer.last(compileRouteLookup);
  const reachOf = (program: Program, { network, paths }: ReachObserved) =>
    checkReach(program, network.routes, compile(network, paths, program.family));
  return {
    name: "reach",
    title: "routes, policy rules and next hops",
    serves: translatingKinds,
    plan({ program }, observed) {
      const result = reachOf(program, observed);
      return subsystemPlan<never>([], () => obstaclesIn(program, observed, result), {
        notices: notices(program, observed, result),
      });
    },
    obstaclesTo: (part, observed) => obstaclesIn(part, observed, reachOf(part, observed)),
    reads: ({ program }) => [program],
  };
}

/** A missing interface has no routes either. Only the interface is reported. */
function obstaclesIn(program: Program, { network }: ReachObserved, { misrouted }: ReachResult): Obstacles {
  const objects = new Map<ObjectId, Obstacle>();
  const kinds = new Map<Kind, Obstacle>();
  const faults = new Map(outsideInterfaces(program).map((name) => [name, linkFault(network.links, name)]));
  for (const { id, interface: name } of faults.values().some((fault) => fault) ? program.eips : []) {
    const fault = faults.get(name);
    if (fault !== undefined) objects.set(id, { condition: "Ready", ...fault });
  }
  const vpcFault = linkFault(network.links, program.vpcInterface);
  if (vpcFault !== undefined)
    for (const kind of translatingKinds) kinds.set(kind, { condition: "Ready", ...vpcFault });
  else
    for (const [id, message] of misrouted)
      objects.set(id, { condition: "Ready", reason: "NoRoute", message });
  return objects.size + kinds.size === 0 ? noObstacles : { objects, kinds };
}

function notices(
  program: Program,
  { network, silentHops }: ReachObserved,
  { uncertainRules }: ReachResult,
): readonly Degradation[] {
  const outside = outsideInterfaces(program);
  const conflicts = [
    ...conflictingRoutes(network.routes, program.vpcInterface, outside, program.family).map(
      (route) => `ip route: ${routeText(route)}`,
    ),
    ...Array.from(uncertainRules, ({ text }: PolicyRule) => `ip rule: ${text}`),
  ];
  const filtered = reverseFiltered(network, outside, program.family);
  const [first] = conflicts;
  const more = conflicts.length > 1 ? `, and ${conflicts.length - 1} more` : "";
  return [
    ...nextHopNotices(network, silentHops),
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
