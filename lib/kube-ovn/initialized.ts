/** Whether somebody has said what the gateway is for: before that, calls but those of QoS are refused. */
import { kinds } from "../model/names.ts";
import { objectsOf } from "../state/desired.ts";
import type { State } from "../state/state.ts";

/**
 * True after `init`, and after any write but those of QoS.
 *
 * @param isBegunByQos true if a QoS operation was the first write of all, and no `init` came since
 */
export function isInitialized(state: State, isBegunByQos: boolean): boolean {
  return state.isSet && !(isBegunByQos && holdsLimitsOnly(state));
}

/** Limits bring unbound Eips along. */
function holdsLimitsOnly({ desired, lastFullSet }: State): boolean {
  if (lastFullSet !== undefined) return false;
  const others = kinds.filter((kind) => kind !== "limit" && kind !== "eip");
  if (others.some((kind) => objectsOf(desired, kind).size > 0)) return false;
  return desired.eips.values().every(({ spec }) => spec.bound === false);
}
