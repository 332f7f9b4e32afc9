/** `DELETE /v1/{kind}s/{name}`: removes one object, an Eip with its users where asked to. */
import type { Kind, ObjectName, Uid } from "../model/names.ts";
import type { State } from "./state.ts";
import type { Decision, IfMatch, WriteContext } from "./writes.ts";

export interface DeleteObjectRequest {
  readonly kind: Kind;
  readonly name: ObjectName;
  /** The life that is to end, `?uid=`; remembered as deleted whether or not it is stored. */
  readonly uid?: Uid | undefined;
  /** Takes an Eip's users along, `?cascade=true`. */
  readonly isCascading?: boolean | undefined;
  readonly ifMatch?: IfMatch | undefined;
}

export function deleteObject(state: State, request: DeleteObjectRequest, context: WriteContext): Decision {
  throw new TypeError(`not built yet: ${state} ${request} ${context}`);
}
