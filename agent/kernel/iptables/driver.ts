/** Reads and writes NAT with iptables, in either of its variants. */
import type { DropCounts } from "../../../lib/nftables/filter-tables.ts";
import type { IptablesObserved } from "../../../lib/plan/iptables/observed.ts";
import type { IptablesPayload } from "../../../lib/plan/iptables/payload.ts";
import { CachedRuleset, type CacheOptions } from "../cached-ruleset.ts";
import type { IncrementalRules, RulesDriver, WriteOutcome } from "../drivers.ts";
import { IptablesRuleset, type RulesetOptions } from "./ruleset.ts";
import type { Variant } from "./tools.ts";

export interface IptablesDriverOptions extends RulesetOptions, CacheOptions {
  /** The variant, or how to choose it. Every observation asks until there is an answer. */
  readonly variant: Variant | VariantChooser;
}

/** Throws if no choice is possible yet: then nothing is observed and nothing written. */
export type VariantChooser = (signal: AbortSignal) => Promise<Variant>;

export function createIptablesDriver(
  options: IptablesDriverOptions,
): RulesDriver<IptablesObserved, IptablesPayload> {
  return new IptablesDriver(options);
}

type Cached = CachedRuleset<IptablesObserved, IptablesPayload>;

class IptablesDriver implements RulesDriver<IptablesObserved, IptablesPayload> {
  readonly #options: IptablesDriverOptions;
  #chosen:
    | { readonly variant: Variant; readonly plain: IptablesRuleset; readonly ruleset: Cached }
    | undefined;

  readonly incremental: IncrementalRules<IptablesObserved> = {
    verified: async (signal) => this.#chosenRuleset?.verified(signal),
    base: async (signal) => this.#chosenRuleset?.base(signal),
    verify: async (signal) => this.#chosenRuleset?.verify(signal),
  };

  /** The tools do not check a generation: a busy writer needs time to finish. */
  readonly retryDelaysMs = [20, 60, 180];

  constructor(options: IptablesDriverOptions) {
    this.#options = options;
    if (typeof options.variant === "string") this.#choose(options.variant);
  }

  /** nft until the variant is chosen. */
  get backend(): "iptables-nft" | "iptables-legacy" {
    return `iptables-${this.#chosen?.variant ?? "nft"}`;
  }

  async observe(signal: AbortSignal): Promise<IptablesObserved> {
    return (await this.#ruleset(signal)).read(signal);
  }

  forget(): void {
    this.#chosenRuleset?.forget();
  }

  async write(
    payload: IptablesPayload,
    signal: AbortSignal,
    isRetry?: boolean,
  ): Promise<WriteOutcome<IptablesPayload>> {
    return (await this.#ruleset(signal)).write(payload, signal, isRetry);
  }

  /** None before the first observation. */
  async readDrops(signal: AbortSignal): Promise<DropCounts> {
    return this.#chosen?.plain.readDrops(signal) ?? new Map();
  }

  get #chosenRuleset(): Cached | undefined {
    return this.#chosen?.ruleset;
  }

  async #ruleset(signal: AbortSignal): Promise<Cached> {
    if (this.#chosenRuleset !== undefined) return this.#chosenRuleset;
    const { variant } = this.#options;
    const chosen = typeof variant === "function" ? await variant(signal) : variant;
    // Another call may have chosen in the meantime.
    return this.#chosenRuleset ?? this.#choose(chosen);
  }

  #choose(variant: Variant): Cached {
    const { journal, ...cache } = this.#options;
    // Legacy makes no nf_tables commits: its journal is never started.
    const options = { ...cache, journal: variant === "legacy" ? undefined : journal };
    const plain = new IptablesRuleset(variant, this.#options);
    const ruleset = new CachedRuleset(plain, options);
    this.#chosen = { variant, plain, ruleset };
    return ruleset;
  }
}
