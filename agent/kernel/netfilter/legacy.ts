/** Reads the rules of iptables-legacy in existing tables only: asking for any other would create it. */

import { splitSave } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Chain } from "../../../lib/netfilter/chain.ts";
import { parseIptablesChainsChunked } from "../../../lib/netfilter/iptables-chains.ts";
import { isOwnChain } from "../../../lib/plan/iptables/owned.ts";
import { runYielding } from "../../run-yielding.ts";
import type { Run } from "../run.ts";

/** The legacy tables of this namespace. */
export interface LegacyTables {
  names(): Promise<readonly string[]>;
  /** Equal digests mean equal tables. `undefined` if no digest could be taken. */
  digest(names: readonly string[]): Promise<string | undefined>;
}

export interface LegacyChains {
  readonly foreign: readonly Chain[];
  /** The agent's own chains, by place and name. */
  readonly own: readonly string[];
}

export async function readLegacyChains(
  names: readonly string[],
  run: Run,
  signal: AbortSignal,
): Promise<LegacyChains> {
  const foreign: Chain[] = [];
  const own: string[] = [];
  const isOwn = (place: string, chain: string) => {
    if (!isOwnChain(place, chain)) return false;
    own.push(`${place} ${chain}`);
    return true;
  };
  for (const name of names) {
    const { stdout } = await run(["iptables-legacy-save", "-t", name], { signal });
    foreign.push(...(await runYielding(parseIptablesChainsChunked(whole(stdout), "iptables-legacy", isOwn))));
  }
  return { foreign, own };
}

/** What iptables-save printed of a table. Throws `unreadable` where that was cut short. */
export function whole(text: string): string {
  splitSave(text, []);
  if (!/^\*/m.test(text)) throw new GatewayError("unreadable", "iptables-save printed no table");
  return text;
}
