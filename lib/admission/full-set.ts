/** `PUT /v1/desired`: replaces the whole set. */
import type { FullSet } from "../model/schema.ts";
import type { State } from "./state.ts";
import type { Decision, IfMatch, WriteContext } from "./writes.ts";

export interface FullSetRequest {
  /** Schema-checked. */
  readonly set: FullSet;
  readonly ifMatch?: IfMatch | undefined;
}

export function putFullSet(state: State, request: FullSetRequest, context: WriteContext): Decision {
  throw new TypeError(`not built yet: ${state} ${request} ${context}`);
}
