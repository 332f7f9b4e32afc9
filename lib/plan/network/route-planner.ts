/** The routes subsystem. */
import type { ObjectId } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import { obstaclesOf, type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";
import { describeRouteStep, planRoutes, type RoutePlan, type RouteStep, routeText } from "./routes.ts";

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
    return subsystemPlan(steps, () => obstaclesOf("Programmed", "Pending", missingRoutes(routes)));
  },
  reads: ({ program }) => [program],
};

function missingRoutes({ steps, blocked }: RoutePlan): ReadonlyMap<ObjectId, string> {
  const missing = new Map<ObjectId, string>();
  for (const step of steps) {
    if (step.kind !== "remove" && step.object !== undefined)
      missing.set(step.object, `missing route ${routeText(step.route)}`);
  }
  for (const { object, message } of blocked) if (object !== undefined) missing.set(object, message);
  return missing;
}
