/** `POST /v1/import?adopt=true`: what was read from the kernel becomes the desired set. */
import { type Chunked, everyNth } from "../chunked.ts";
import { GatewayError } from "../model/errors.ts";
import { kinds } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { State } from "../state/state.ts";
import { WriteDraft } from "./draft.ts";
import { type SpecLists, specsIn } from "./requests.ts";
import { checkIfMatch, type Decision, type IfMatch, type WriteContext } from "./writes.ts";

export interface AdoptRequest {
  /** In canonical form, each name once. */
  readonly set: SpecLists & { readonly gateway: Gateway };
  readonly ifMatch?: IfMatch | undefined;
}

/** Takes a few milliseconds. */
const writtenAtOnce = 2_000;

/**
 * Decides on an adoption. It has no generation: the first full set of a controller may have any. Throws `precondition-failed`, or
 * `conflict` if the store holds a set, which the kernel follows already.
 */
export function* adoptChunked(
  state: State,
  { set, ifMatch }: AdoptRequest,
  context: Pick<WriteContext, "now">,
): Chunked<Decision> {
  checkIfMatch(state, ifMatch);
  if (state.isSet)
    throw new GatewayError("conflict", "the store holds a set already, and the kernel follows it");
  const draft = new WriteDraft(state, context);
  const isDue = everyNth(writtenAtOnce);
  for (const kind of kinds)
    for (const spec of specsIn(set, kind)) {
      if (isDue()) yield;
      draft.put(kind, spec);
    }
  // A set without objects makes the store set, too.
  draft.record({ type: "gateway", gateway: set.gateway });
  return draft.finish();
}
