/** Announces a set whose objects come one by one, as Kube-OVN's controller does with `init`. */

import type { Gateway } from "../model/schema.ts";
import type { State } from "../state/state.ts";
import { WriteDraft } from "./draft.ts";
import { canonicalGateway } from "./gateway.ts";
import { checkAdopted, type Decision, type WriteContext } from "./writes.ts";

/**
 * From now on the store is set, even if it is empty. What is stored stays. Throws `not-adopted`.
 *
 * @param gateway replaces these fields of the gateway
 */
export function announceSet(state: State, gateway: Gateway, context: WriteContext): Decision {
  checkAdopted(context);
  const draft = new WriteDraft(state, context);
  draft.setGateway(canonicalGateway({ ...state.desired.gateway, ...gateway }));
  draft.markSet();
  return draft.finish();
}
