/** The routes subsystem. */
import { type Chunked, everyNth, mapChunked, runSync } from "../../chunked.ts";
import type { Degradation } from "../../model/degradation.ts";
import type { ObjectId } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Reason } from "../../model/status.ts";
import type { PlanInput } from "../plan-input.ts";
import {
  type Obstacle,
  type Obstacles,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "../subsystem.ts";
import {
  type BlockedRoute,
  describeRouteStep,
  planRoutesChunked,
  type RoutePlan,
  type RouteStep,
  routeText,
} from "./routes.ts";

export const routePlanner: SubsystemPlanner<ObservedNetwork, RouteStep> = {
  name: "route",
  title: "routes",
  serves: ["route"],
  plan: (input, observed) => runSync(planChunked(input, observed)),
  planChunked,
  withNetwork: (_, network) => network,
  reads: ({ program, context }) => [program, context.isSet],
};

/** Takes a few milliseconds. */
const plannedAtOnce = 3_000;

function* planChunked(
  { program, context }: PlanInput,
  observed: ObservedNetwork,
): Chunked<SubsystemPlan<RouteStep>> {
  const routes = yield* planRoutesChunked({ program, observed, isSet: context.isSet });
  const steps = yield* mapChunked(routes.steps, plannedAtOnce, (payload) => ({
    phase: "routes" as const,
    changes: [describeRouteStep(payload)],
    payload,
  }));
  return subsystemPlan(steps, () => missingRoutes(routes), { notices: noticesOf(routes) });
}

/** A default gateway that a set names is refused where it is the gateway itself; one of the settings is not. */
function noticesOf({ blocked }: RoutePlan): readonly Degradation[] {
  return blocked
    .filter(({ object, code }) => object === undefined && code === "next-hop-own")
    .map(({ message }) => ({
      reason: "NextHopUnreachable",
      message: `the default gateway ${message}: there is no default route by it`,
    }));
}

/** Why a route that cannot be added is missing. */
const reasonOf = {
  "interface-missing": "InterfaceNotFound",
  "interface-down": "InterfaceDown",
  "foreign-route": "ForeignRoute",
  "next-hop-own": "Conflict",
} as const satisfies Record<BlockedRoute["code"], Reason>;

function* missingRoutes({ steps, blocked }: RoutePlan): Chunked<Obstacles> {
  const missing = new Map<ObjectId, Obstacle>();
  const isDue = everyNth(plannedAtOnce);
  for (const step of steps) {
    if (isDue()) yield;
    if (step.kind === "remove" || step.object === undefined) continue;
    const message = `missing route ${routeText(step.route)}`;
    missing.set(step.object, { condition: "Programmed", reason: "Pending", message });
  }
  for (const { object, code, message } of blocked) {
    if (isDue()) yield;
    if (object === undefined) continue;
    // A link may come up while a request waits. A pass does not help against the others.
    const isSettled = code !== "interface-down";
    missing.set(object, { condition: "Programmed", reason: reasonOf[code], message, isSettled });
  }
  return { objects: missing, kinds: new Map() };
}
