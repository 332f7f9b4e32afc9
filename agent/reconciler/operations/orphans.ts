/** The addresses on the gateway that nothing explains. */
import type { Ip } from "../../../lib/model/ip.ts";
import { heldIn } from "../../../lib/plan/network/bindings.ts";
import type { PassResult } from "../pass/pass-result.ts";

/** Before adoption all that are not the gateway's own: then nothing is removed. */
export function orphansOf({ planAfter, snapshot, verdicts }: PassResult): ReadonlySet<Ip> {
  const { addresses, own } = planAfter;
  const all = verdicts === undefined ? heldIn(snapshot.facts.network) : addresses.orphans;
  return new Set(all.map(({ address }) => address)).difference(own);
}
