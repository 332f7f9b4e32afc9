/** Which EIPs the gateway holds according to the last reading. Looked up often, computed once per reading. */

import { memoizeLast } from "../../../lib/memoize.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { Program } from "../../../lib/model/program.ts";
import { heldIn } from "../../../lib/plan/network/bindings.ts";
import type { AddressOnLink } from "../../kernel/drivers.ts";

/** By IP. */
type Places = ReadonlyMap<Ip, readonly AddressOnLink[]>;

export class HeldEips {
  readonly #places = memoizeLast(
    (network: ObservedNetwork): Places => Map.groupBy(heldIn(network), ({ address }) => address),
  );
  readonly #eips = memoizeLast(
    (program: Program, places: Places): ReadonlyMap<Ip, AddressOnLink> =>
      new Map(program.eips.filter((eip) => isAmong(places, eip)).map((eip) => [eip.address, eip])),
  );

  /** True if the reading found the address on that link, with either binding. */
  holds(place: AddressOnLink, network: ObservedNetwork | undefined): boolean {
    return network !== undefined && isAmong(this.#places(network), place);
  }

  /** The EIPs of the program that the reading found. */
  eips(program: Program, network: ObservedNetwork): ReadonlyMap<Ip, AddressOnLink> {
    return this.#eips(program, this.#places(network));
  }
}

function isAmong(places: Places, { interface: name, address }: AddressOnLink): boolean {
  return places.get(address)?.some((place) => place.interface === name) ?? false;
}
