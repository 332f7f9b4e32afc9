/** What is known of the ruleset: a reading, and what own transactions made of it since. */
import { nextGeneration } from "../../../lib/nftables/commits.ts";
import type { TableTransaction } from "../../../lib/nftables/encode-transaction.ts";
import { type MapName, mapNames } from "../../../lib/nftables/maps.ts";
import { maxReadByKey } from "./reread.ts";
import type { NftablesObserved, NftablesStep } from "./ruleset.ts";

/** Own transactions since the last reading. */
export interface Written {
  readonly transactions: readonly TableTransaction[];
  readonly isBarrier: boolean;
}

export interface Known {
  readonly observed: NftablesObserved;
  /** The generation that own transactions led to. */
  readonly generation: number;
  readonly written: Written | undefined;
}

/** What is known after one more step. */
export function after({ observed, generation, written }: Known, step: NftablesStep): Known {
  const { transactions = [], isBarrier = false } = written ?? {};
  return {
    observed,
    generation: nextGeneration(generation),
    written:
      step.kind === "table"
        ? { transactions: [...transactions, step.transaction], isBarrier }
        : { transactions, isBarrier: true },
  };
}

export function keysOf(transactions: readonly TableTransaction[]): ReadonlyMap<MapName, ReadonlySet<string>> {
  return new Map(
    mapNames.map((map) => [
      map,
      new Set(transactions.flatMap(({ add, remove }) => [...remove[map], ...add[map].keys()])),
    ]),
  );
}

export function isReadByKey({ frame, add, remove }: TableTransaction): boolean {
  const keys = mapNames.reduce((sum, map) => sum + add[map].size + remove[map].length, 0);
  return frame === undefined && keys <= maxReadByKey;
}
