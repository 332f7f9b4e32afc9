/** What a route that was found means for packets. */
import type { InterfaceName } from "../../model/names.ts";
import { routeText } from "../network/routes.ts";
import type { RouteChoice } from "./route-lookup.ts";

export function leadsTo({ route }: Pick<RouteChoice, "route">, wanted: InterfaceName): boolean {
  if (route?.type !== "unicast") return false;
  return route.hops === undefined ? route.interface === wanted : route.hops.every((name) => name === wanted);
}

export function routeChoiceText({ route, rule }: RouteChoice): string {
  const text = route === undefined ? "no route leads there" : `the kernel uses the route ${routeText(route)}`;
  return rule === undefined ? text : `${text}, by the rule ${rule.text}`;
}
