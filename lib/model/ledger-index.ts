/**
 * Looks up ledger entries by IP. Looking up by {@link ledgerKey} builds a text for each of 10,000 addresses, which
 * takes longer than the rest of the planning.
 */

import { type Chunked, everyNth } from "../chunked.ts";
import type { Ip } from "./ip.ts";
import type { Ledger, LedgerAddress } from "./ledger.ts";

export interface LedgerIndex {
  /** The entries of one IP: its interfaces and prefix lengths. */
  of(address: Ip): readonly LedgerAddress[];
  has(entry: LedgerAddress): boolean;
}

/** In parts. Computed once for each ledger. */
export function* ledgerIndex({ addresses }: Pick<Ledger, "addresses">): Chunked<LedgerIndex> {
  const known = indexes.get(addresses) ?? (yield* makeIndex(addresses));
  indexes.set(addresses, known);
  return known;
}

/** Takes a few milliseconds. */
const indexedAtOnce = 4_000;

const indexes = new WeakMap<Ledger["addresses"], LedgerIndex>();
const none: readonly LedgerAddress[] = [];

function* makeIndex(addresses: Ledger["addresses"]): Chunked<LedgerIndex> {
  // Nearly every IP has a single entry: a list for each would be 10,000 lists.
  const first = new Map<Ip, LedgerAddress>();
  const further = new Map<Ip, LedgerAddress[]>();
  const isDue = everyNth(indexedAtOnce);
  for (const entry of addresses.values()) {
    if (isDue()) yield;
    const one = first.get(entry.address);
    if (one === undefined) first.set(entry.address, entry);
    else further.set(entry.address, [...(further.get(entry.address) ?? [one]), entry]);
  }
  return {
    of(address) {
      const one = first.get(address);
      return one === undefined ? none : (further.get(address) ?? [one]);
    },
    has(entry) {
      const one = first.get(entry.address);
      if (one === undefined) return false;
      return (
        isSameEntry(one, entry) ||
        (further.get(entry.address)?.some((other) => isSameEntry(other, entry)) ?? false)
      );
    },
  };
}

/** Whether both have one {@link ledgerKey}. */
export function isSameEntry(one: LedgerAddress, other: LedgerAddress): boolean {
  return (
    one.address === other.address &&
    one.interface === other.interface &&
    one.prefixLength === other.prefixLength
  );
}
