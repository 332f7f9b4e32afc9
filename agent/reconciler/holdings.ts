/** Which EIPs the gateway holds, as last read: looked up often, worked out once a reading. */
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Program } from "../../lib/model/program.ts";
import { heldIn, placeKey } from "../../lib/plan/bindings.ts";
import { rememberLast } from "../../lib/remember.ts";
import type { AddressOnLink } from "../kernel/seams.ts";

export class Holdings {
  readonly #keys = rememberLast(
    (network: ObservedNetwork): ReadonlySet<string> => new Set(heldIn(network).map(placeKey)),
  );
  readonly #eips = rememberLast(
    (program: Program, keys: ReadonlySet<string>): ReadonlyMap<Ipv4, AddressOnLink> =>
      new Map(
        program.eips.filter((eip) => keys.has(placeKey(eip))).map((eip) => [eip.address, eip] as const),
      ),
  );

  /** True where the reading found the address on that link, however it is bound. */
  holds(place: AddressOnLink, network: ObservedNetwork | undefined): boolean {
    return network !== undefined && this.#keys(network).has(placeKey(place));
  }

  /** The EIPs of the program that the reading found. */
  eips(program: Program, network: ObservedNetwork): ReadonlyMap<Ipv4, AddressOnLink> {
    return this.#eips(program, this.#keys(network));
  }
}
