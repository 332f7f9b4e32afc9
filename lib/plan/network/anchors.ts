/** Keeps an address on each interface where EIPs are bound by route. */

import { type Chunked, everyNth } from "../../chunked.ts";
import { ledgerKey } from "../../model/ledger.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedAddress, ObservedNetwork } from "../../model/observed.ts";
import type { ProgramEip } from "../../model/program.ts";

/** An EIP that has an address beside its route. */
export interface Anchor {
  readonly eip: ProgramEip;
  /** Its address, if it already exists. */
  readonly standing: ObservedAddress | undefined;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/**
 * When an interface loses its last address, the kernel drops all its routes without an event. So if no address would
 * stay, one EIP keeps an address beside its route: an existing one, else that of the oldest EIP.
 *
 * @param eips EIPs to bind by route, oldest first
 * @param toRemove addresses that would be removed
 */
export function* chooseAnchors(
  eips: readonly ProgramEip[],
  observed: ObservedNetwork,
  toRemove: ReadonlySet<ObservedAddress>,
): Chunked<readonly Anchor[]> {
  const isDue = everyNth(lookedAtOnce);
  const held = new Set<InterfaceName>();
  const leaving = new Map<string, ObservedAddress>();
  for (const address of observed.addresses) {
    if (isDue()) yield;
    if (toRemove.has(address)) leaving.set(ledgerKey(address), address);
    else held.add(address.interface);
  }
  const anchors = new Map<InterfaceName, Anchor>();
  for (const eip of eips) {
    if (isDue()) yield;
    if (held.has(eip.interface) || anchors.get(eip.interface)?.standing !== undefined) continue;
    const standing = leaving.get(ledgerKey(eip));
    if (standing === undefined && anchors.has(eip.interface)) continue;
    anchors.set(eip.interface, { eip, standing });
  }
  return [...anchors.values()];
}
