/** Longest prefix match over address values, for tables that are built once and used for every flow of a dump. */
import type { AddressKey, AddressValue, Family } from "../model/family.ts";
import { type Cidr, prefixLengthOf } from "../model/ip.ts";

interface Level<V> {
  readonly prefixLength: number;
  readonly mask: AddressKey;
  readonly values: Map<AddressKey, V>;
}

export class PrefixTable<V> {
  /** One level for each prefix length in use, longest first. A lookup costs one map access per level. */
  readonly #levels: Level<V>[] = [];
  readonly #family: Family;
  readonly #maskedKey: Family["maskedKey"];

  constructor(family: Family) {
    this.#family = family;
    this.#maskedKey = family.maskedKey;
  }

  /** Sets the value of `cidr`. Replaces an earlier one. */
  set(cidr: Cidr, value: V): void {
    this.setAround(this.#family.rangeOf(cidr)[0], prefixLengthOf(cidr), value);
  }

  /** True if this very prefix has a value. */
  has(cidr: Cidr): boolean {
    const { mask, values } = this.#level(prefixLengthOf(cidr));
    return values.has(this.#maskedKey(this.#family.rangeOf(cidr)[0], mask));
  }

  /** Like {@link set}, for the network of `prefixLength` bits around `address`: for tables of thousands of hosts. */
  setAround(address: AddressValue, prefixLength: number, value: V): void {
    const { mask, values } = this.#level(prefixLength);
    values.set(this.#maskedKey(address, mask), value);
  }

  /** The value of the longest prefix that contains `address`. */
  longest(address: AddressValue): V | undefined {
    for (const level of this.#levels) {
      const value = level.values.get(this.#maskedKey(address, level.mask));
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #level(prefixLength: number): Level<V> {
    const known = this.#levels.find((level) => level.prefixLength === prefixLength);
    if (known !== undefined) return known;
    const mask = this.#family.keyOf(this.#family.netmask(prefixLength));
    const level: Level<V> = { prefixLength, mask, values: new Map() };
    this.#levels.push(level);
    this.#levels.sort((a, b) => b.prefixLength - a.prefixLength);
    return level;
  }
}
