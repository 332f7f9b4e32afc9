/** Where rules of longer and shorter prefixes are in a chain that has the longest ones first. */
import { type Cidr, prefixLengthOf } from "../../model/ip.ts";

export class PrefixOrder {
  /** The first position of each prefix length. */
  readonly #first = new Map<number, number>();

  /** Call it with rising positions. */
  add(cidr: Cidr, position: number): void {
    const length = prefixLengthOf(cidr);
    if (!this.#first.has(length)) this.#first.set(length, position);
  }

  /** The first position of a shorter prefix, which a rule of `cidr` must precede. */
  firstShorter(cidr: Cidr): number | undefined {
    const length = prefixLengthOf(cidr);
    let first: number | undefined;
    for (const [shorter, position] of this.#first)
      if (shorter < length && (first === undefined || position < first)) first = position;
    return first;
  }
}
