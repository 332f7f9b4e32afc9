/** `POST /v1/batch`: deletes, then upserts; all or nothing, judged on its result. */
import type { Batch } from "../model/schema.ts";
import type { State } from "./state.ts";
import type { Decision, IfMatch, WriteContext } from "./writes.ts";

export interface BatchRequest {
  /** Schema-checked. */
  readonly batch: Batch;
  readonly ifMatch?: IfMatch | undefined;
}

export function applyBatch(state: State, request: BatchRequest, context: WriteContext): Decision {
  throw new TypeError(`not built yet: ${state} ${request} ${context}`);
}
