/** Finds, among networks at positions of a chain, those that contain a given network. */
import { familyOf } from "../../model/families.ts";
import type { AddressValue } from "../../model/family.ts";
import { addressOf, type Cidr, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";

export interface PoolNetwork {
  readonly cidr: Cidr;
  /** Networks of different interfaces do not overlap: their packets match different rules. */
  readonly interface: InterfaceName;
}

/** A lookup costs one step per prefix length in use, independent of the number of networks. */
export class NetworkIndex {
  /** First position, by interface, prefix length and network address. */
  readonly #positions = new Map<InterfaceName, Map<number, Map<AddressValue, number>>>();

  /** Call it with rising positions. The first position of a network counts. */
  add(network: PoolNetwork, position: number): void {
    const lengths = getOrMake(this.#positions, network.interface);
    const addresses = getOrMake(lengths, prefixLengthOf(network.cidr));
    const address = familyOf(network.cidr).toValue(addressOf(network.cidr));
    if (!addresses.has(address)) addresses.set(address, position);
  }

  /** The first position of a wider network that contains `network`. */
  firstWider(network: PoolNetwork): number | undefined {
    const length = prefixLengthOf(network.cidr);
    const family = familyOf(network.cidr);
    const address = family.toValue(addressOf(network.cidr));
    let first: number | undefined;
    for (const [wider, addresses] of this.#positions.get(network.interface) ?? []) {
      if (wider >= length) continue;
      const position = addresses.get(family.and(address, family.netmask(wider)));
      if (position !== undefined && (first === undefined || position < first)) first = position;
    }
    return first;
  }
}

function getOrMake<K, K2, V2>(map: Map<K, Map<K2, V2>>, key: K): Map<K2, V2> {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = new Map<K2, V2>();
  map.set(key, made);
  return made;
}
