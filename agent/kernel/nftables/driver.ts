/** Reads and writes NAT with nftables: one table, a few fixed rules, objects as elements of its maps. */
import type { Counter } from "../../../lib/nftables/decode-elements.ts";
import { byMap, mapNames } from "../../../lib/nftables/maps.ts";
import type { ElementCounters } from "../../../lib/plan/nftables/counters.ts";
import type { NftablesObserved } from "../../../lib/plan/nftables/observed.ts";
import type { NftablesPayload } from "../../../lib/plan/nftables/payload.ts";
import { CachedRuleset, type CacheOptions } from "../cached-ruleset.ts";
import type { IncrementalRules, RulesDriver } from "../drivers.ts";
import { FilterTables } from "./filter-tables.ts";
import { visitElements } from "./read.ts";
import { NftablesRuleset, type RulesetOptions } from "./ruleset.ts";

/** The connection comes from `openNftables`. Its owner closes it. */
export interface NftablesDriverOptions extends RulesetOptions, CacheOptions {}

export interface NftablesDriver extends RulesDriver<NftablesObserved, NftablesPayload> {
  readonly incremental: IncrementalRules<NftablesObserved>;
  /** The counters of each element. */
  readCounters(signal: AbortSignal): Promise<ElementCounters>;
}

export function createNftablesDriver(options: NftablesDriverOptions): NftablesDriver {
  const filterTables = options.filterTables ?? new FilterTables(options.netlink);
  const ruleset = new CachedRuleset(new NftablesRuleset({ ...options, filterTables }), options);
  return {
    backend: "nftables",
    retryDelaysMs: [0, 0, 0, 0],
    observe: (signal) => ruleset.read(signal),
    forget() {
      ruleset.forget();
      filterTables.forget();
    },
    write: (payload, signal, isRetry) => ruleset.write(payload, signal, isRetry),
    incremental: ruleset,
    readDrops: (signal) => filterTables.readCounts(signal),
    async readCounters(signal) {
      // By key: an interrupted dump starts again and reports elements twice.
      const counted = byMap(() => new Map<string, Counter>());
      if ((await ruleset.read(signal)).table.definition === undefined) return counted;
      for (const map of mapNames) {
        const count = (key: string, _: string, counter: Counter) => counted[map].set(key, { ...counter });
        await visitElements(options.netlink, map, count, signal);
      }
      return counted;
    },
  };
}
