/** Plans the routes: the default route, and the desired routes under the agent's own protocol number. */
import type { ObjectId } from "../model/names.ts";
import type { ObservedRoute } from "../model/observed.ts";

export interface RouteStep {
  readonly kind: "add" | "remove";
  readonly route: ObservedRoute;
  readonly object?: ObjectId;
}
