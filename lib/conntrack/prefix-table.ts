/**
 * Longest prefix match over numbers, for tables that are built once and asked for every flow of a dump.
 *
 * Maps are keyed by the address as a *signed* 32-bit integer: those are small integers to the engine, which it hashes
 * without leaving compiled code; unsigned ones above 2^31 would be floating-point keys.
 */
import { type Cidr, prefixLengthOf } from "../model/ip.ts";
import { netmaskU32, rangeOf } from "../model/ipv4.ts";

/** An address as a map key: any two numbers with the same 32 bits give the same key. */
export function addressKey(address: number): number {
  return address | 0;
}

interface Level<V> {
  readonly prefixLength: number;
  readonly mask: number;
  readonly values: Map<number, V>;
}

export class PrefixTable<V> {
  /** One for each prefix length in use, longest first: a lookup costs one map access for each. */
  readonly #levels: Level<V>[] = [];

  /** Replaces what `cidr` held. */
  set(cidr: Cidr, value: V): void {
    this.setAround(rangeOf(cidr)[0], prefixLengthOf(cidr), value);
  }

  /** The same for the network of `prefixLength` bits around `address`, by number: for tables of thousands of hosts. */
  setAround(address: number, prefixLength: number, value: V): void {
    const { mask, values } = this.#level(prefixLength);
    values.set(address & mask, value);
  }

  /** The value of the longest prefix that holds `address`. */
  longest(address: number): V | undefined {
    for (const level of this.#levels) {
      const value = level.values.get(address & level.mask);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #level(prefixLength: number): Level<V> {
    const known = this.#levels.find((level) => level.prefixLength === prefixLength);
    if (known !== undefined) return known;
    const level: Level<V> = { prefixLength, mask: netmaskU32(prefixLength) | 0, values: new Map() };
    this.#levels.push(level);
    this.#levels.sort((a, b) => b.prefixLength - a.prefixLength);
    return level;
  }
}
