/** The routes subsystem. */
import type { ObjectId } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Reason } from "../../model/status.ts";
import { type Obstacle, type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";
import {
  type BlockedRoute,
  describeRouteStep,
  planRoutes,
  type RoutePlan,
  type RouteStep,
  routeText,
} from "./routes.ts";

export const routePlanner: SubsystemPlanner<ObservedNetwork, RouteStep> = {
  name: "route",
  title: "routes",
  serves: ["route"],
  plan({ program }, observed) {
    const routes = planRoutes({ program, observed });
    const steps = routes.steps.map((payload) => ({
      phase: "routes" as const,
      changes: [describeRouteStep(payload)],
      payload,
    }));
    return subsystemPlan(steps, () => ({ objects: missingRoutes(routes), kinds: new Map() }));
  },
  reads: ({ program }) => [program],
};

/** Why a route that cannot be added is missing. */
const reasonOf = {
  "interface-missing": "InterfaceNotFound",
  "interface-down": "InterfaceDown",
  "foreign-route": "ForeignRoute",
} as const satisfies Record<BlockedRoute["code"], Reason>;

function missingRoutes({ steps, blocked }: RoutePlan): ReadonlyMap<ObjectId, Obstacle> {
  const missing = new Map<ObjectId, Obstacle>();
  for (const step of steps) {
    if (step.kind === "remove" || step.object === undefined) continue;
    const message = `missing route ${routeText(step.route)}`;
    missing.set(step.object, { condition: "Programmed", reason: "Pending", message });
  }
  for (const { object, code, message } of blocked) {
    if (object === undefined) continue;
    // A link may come up while a request waits. A pass does not help against the others.
    const isSettled = code !== "interface-down";
    missing.set(object, { condition: "Programmed", reason: reasonOf[code], message, isSettled });
  }
  return missing;
}
