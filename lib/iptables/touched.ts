/** Which chains of iptables-nft a set of commits changed. */
import type { Family } from "../model/family.ts";
import { type Commit, touchesFilterTables } from "../nftables/commits.ts";
import type { EditedChain } from "./restore.ts";
import { tableNames } from "./rule.ts";
import type { RuleDump } from "./save.ts";

/**
 * The chains in which rules were added or deleted, if they were read. `undefined` if anything else changed: a chain, a
 * table, a policy, guard or gate. Tables that are not iptables tables do not count.
 */
export function touchedChains(
  { tables }: Commit,
  read: RuleDump,
  { nft }: Family,
): readonly EditedChain[] | undefined {
  if (touchesFilterTables(tables)) return undefined;
  const chains: EditedChain[] = [];
  for (const table of tableNames) {
    const touched = tables.get(`${nft.family} ${table}`);
    if (touched === undefined) continue;
    const known = read.get(table);
    if (touched.isRemade || known === undefined) return undefined;
    for (const [chain, growth] of touched.growth) {
      if (!known.has(chain)) return undefined;
      chains.push({ table, chain, growth });
    }
  }
  return chains;
}
