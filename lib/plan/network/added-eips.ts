/**
 * Eips that are added to a gateway at rest, where everything is as planned and as read back: their bindings are all that
 * the network needs, and no other part of the plan changes. In every other case the whole has to be planned.
 */
import { isSameMap } from "../../memoize.ts";
import type { Ip } from "../../model/ip.ts";
import type { Ledger } from "../../model/ledger.ts";
import { isSameEntry } from "../../model/ledger-index.ts";
import type { ObservedAddress, ObservedNetwork, ObservedRoute } from "../../model/observed.ts";
import type { Program, ProgramEip } from "../../model/program.ts";
import type { AddressPlan, AddressStep, Binding } from "../address-plan.ts";
import { entryOf } from "./addresses.ts";
import { boundBy, heldIn } from "./bindings.ts";

/** The Eips that `to` holds and `from` lacks. `undefined` if any other Eip differs, or one of them is not held. */
export function eipsAdded(from: Program, to: Program): readonly ProgramEip[] | undefined {
  const hasUnbound = (from.unboundEips?.length ?? 0) + (to.unboundEips?.length ?? 0) > 0;
  const before = new Map(from.eips.map((eip) => [eip.address, eip]));
  const after = new Map(to.eips.map((eip) => [eip.address, eip]));
  const isSame = (eip: ProgramEip, other: ProgramEip | undefined) =>
    other !== undefined && other.id === eip.id && isSameEntry(eip, other);
  const added = to.eips.filter(({ address }) => !before.has(address));
  const areOthersSame = from.eips.every((eip) => isSame(eip, after.get(eip.address)));
  return areOthersSame && !(hasUnbound && added.length > 0) ? added : undefined;
}

/** What is known of a gateway at rest. */
export interface GatewayAtRest {
  readonly network: ObservedNetwork;
  /** The ledger of this epoch. */
  readonly ledger: Ledger;
  readonly addresses: Pick<AddressPlan, "anchors">;
  readonly externalInterface: Program["externalInterface"];
}

/** Why adding these Eips takes a plan of the whole; `undefined` if it does not. */
export function whyNotAlone(
  added: readonly ProgramEip[],
  { network, ledger, addresses, externalInterface }: GatewayAtRest,
): string | undefined {
  const isOnOther = added.some((eip) => eip.interface !== externalInterface);
  if (isOnOther) return "an Eip is on another interface than the external one";
  if (!network.links.some(({ name }) => name === externalInterface))
    return "the external interface is missing";
  // Where no other address stays, one EIP keeps an address beside its route.
  const hasOther = network.addresses.some((address) => address.interface === externalInterface);
  if (addresses.anchors.length > 0 || !hasOther) return "the external interface has no address of its own";
  const wanted = new Set<Ip>(added.map(({ address }) => address));
  if (heldIn(network).some(({ address }) => wanted.has(address))) return "an address is there already";
  if (ledger.addresses.values().some(({ address }) => wanted.has(address)))
    return "an address is in the ledger already";
  if (added.some(({ address }) => ledger.retired.has(address)))
    return "the flows of a former Eip with an address may remain";
  return undefined;
}

/** The steps that bind them. */
export function bindingSteps(added: readonly ProgramEip[], binding: Binding): readonly AddressStep[] {
  return added.map((eip) => ({ kind: "add", binding, entry: entryOf(eip), object: eip.id }));
}

/** True if `after` has what `before` has and these bindings, and nothing else differs. */
export function isNetworkWith(
  steps: readonly AddressStep[],
  before: ObservedNetwork,
  after: ObservedNetwork,
): boolean {
  const byAddress = new Map<Ip, AddressStep>();
  const byRoute = new Map<Ip, AddressStep>();
  for (const step of steps) (step.binding === "address" ? byAddress : byRoute).set(step.entry.address, step);
  const stepOfAddress = (found: ObservedAddress) => {
    const step = byAddress.get(found.address);
    return step !== undefined && isSameEntry(step.entry, found) ? step : undefined;
  };
  const stepOfRoute = (found: ObservedRoute) => {
    const place = boundBy(found);
    const step = place && byRoute.get(place.address);
    return step?.entry.interface === place?.interface ? step : undefined;
  };
  return (
    isSameValue(before.links, after.links) &&
    isSameMap(before.sysctls, after.sysctls) &&
    isListWith(before.addresses, after.addresses, stepOfAddress, byAddress.size) &&
    isListWith(before.routes, after.routes, stepOfRoute, byRoute.size)
  );
}

/** True if `after` is `before` with the results of `count` steps, in any place. Unchanged values are equal or the same. */
function isListWith<T>(
  before: readonly T[],
  after: readonly T[],
  stepOf: (value: T) => AddressStep | undefined,
  count: number,
): boolean {
  if (before === after) return count === 0;
  const found = new Set<AddressStep>();
  let at = 0;
  for (const value of after) {
    if (at < before.length && isSameValue(before[at], value)) {
      at++;
      continue;
    }
    const step = stepOf(value);
    if (step === undefined || found.has(step)) return false;
    found.add(step);
  }
  return at === before.length && found.size === count;
}

function isSameValue(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
