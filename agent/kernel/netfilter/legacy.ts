/** Reads the rules of iptables-legacy that are in tables that exist: to ask for another would make it. */
import type { Chain } from "../../../lib/netfilter/chain.ts";
import { parseIptablesChains } from "../../../lib/netfilter/iptables-chains.ts";
import { isOwnChain } from "../../../lib/plan/iptables/owned.ts";
import type { Run } from "../run.ts";

/** The tables of this namespace, as the kernel tells of them. */
export interface LegacyTables {
  names(): Promise<readonly string[]>;
  /** Equal ones are of equal tables; `undefined` where it could not be taken. */
  digest(names: readonly string[]): Promise<string | undefined>;
}

export async function readLegacyChains(
  names: readonly string[],
  run: Run,
  signal: AbortSignal,
): Promise<readonly Chain[]> {
  const chains: Chain[] = [];
  for (const name of names) {
    const { stdout } = await run(["iptables-legacy-save", "-t", name], { signal });
    chains.push(...parseIptablesChains(stdout, "iptables-legacy", isOwnChain));
  }
  return chains;
}
