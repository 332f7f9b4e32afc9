/** `PUT /v1/{kind}s/{name}`: creates or replaces one object. */
import type { Kind } from "../model/names.ts";
import type { SpecOf } from "../model/schema.ts";
import type { State } from "./state.ts";
import type { Decision, IfMatch, WriteContext } from "./writes.ts";

export interface PutObjectRequest<K extends Kind = Kind> {
  readonly kind: K;
  /** Schema-checked, with the path's name in it. */
  readonly spec: SpecOf[K];
  readonly ifMatch?: IfMatch | undefined;
}

export function putObject(state: State, request: PutObjectRequest, context: WriteContext): Decision {
  throw new TypeError(`not built yet: ${state} ${request} ${context}`);
}
