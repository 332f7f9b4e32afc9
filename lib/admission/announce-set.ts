/** Announces a set whose objects come one by one, as Kube-OVN's controller does with `init`. */

import type { State } from "../state/state.ts";
import { WriteDraft } from "./draft.ts";
import { checkAdopted, type Decision, type WriteContext } from "./writes.ts";

/** From now on the store is set, even if it is empty. What is stored stays. Throws `not-adopted`. */
export function announceSet(state: State, context: WriteContext): Decision {
  checkAdopted(context);
  const draft = new WriteDraft(state, context);
  draft.markSet();
  return draft.finish();
}
