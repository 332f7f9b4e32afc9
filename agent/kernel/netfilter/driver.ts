/**
 * Reads the netfilter rules of all tools that packets pass, besides the agent's own, what is attached to devices, and IPsec
 * policies. Changes only what its planner says.
 */

import { stabilize } from "../../../lib/memoize.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Chain, ChainRule } from "../../../lib/netfilter/chain.ts";
import type { NetfilterObserved } from "../../../lib/plan/netfilter/observed.ts";
import type { NetfilterDriver, RulesDriver } from "../drivers.ts";
import { digestTables, legacyTableNames } from "../iptables/legacy-digest.ts";
import type { ConversingConnection, NetlinkConnection } from "../netlink/connection.ts";
import { orAbsent } from "../netlink/refusal.ts";
import { orUndefinedWhereGone } from "../nftables/read.ts";
import { absences, readGeneration } from "../nftables/transaction.ts";
import type { Run } from "../run.ts";
import { readDeviceChains, readLinks } from "./devices.ts";
import { type LegacyChains, type LegacyTables, readLegacyChains } from "./legacy.ts";
import { leftoversIn, type NftHooks, readForeignChains, readNftHooks } from "./nft.ts";
import { readPolicyChains } from "./policies.ts";

export interface NetfilterDriverOptions {
  readonly netlink: ConversingConnection;
  readonly routeNetlink: NetlinkConnection;
  readonly policyNetlink: ConversingConnection;
  readonly run: Run;
  readonly legacy?: LegacyTables;
  /** The dataplane in use: its NAT table is read with the agent's rules, not here. */
  readonly backend: () => RulesDriver["backend"];
}

export function createNetfilterDriver(options: NetfilterDriverOptions): NetfilterDriver {
  return new Driver(options);
}

/** Unchanged parts are not read again: a generation, a digest, and the list of chains and rules show what changed. */
class Driver implements NetfilterDriver {
  readonly #options: NetfilterDriverOptions;
  readonly #keep = stabilize<NetfilterObserved>(isSame);
  #nft: NftReading | undefined;
  #legacy: { readonly digest: string; readonly chains: LegacyChains } | undefined;
  #legacyReadings = 0;
  /** Each attempt to open a socket would make the kernel look for a module. */
  #hasIpsec = true;

  constructor(options: NetfilterDriverOptions) {
    this.#options = options;
  }

  async observe(signal: AbortSignal): Promise<NetfilterObserved> {
    const { hooks, foreign, generation } = await this.#readNft(signal);
    const legacy = await this.#readLegacy(signal);
    const { routeNetlink, policyNetlink } = this.#options;
    const links = await readLinks(routeNetlink, signal);
    const devices = await readDeviceChains(routeNetlink, links, signal);
    const policies = this.#hasIpsec ? await readPolicyChains(policyNetlink, links, signal) : undefined;
    this.#hasIpsec = policies !== undefined;
    const { tables, chains } = hooks;
    return this.#keep({
      tables,
      chains,
      foreign: [...foreign, ...legacy.foreign, ...devices, ...(policies ?? [])],
      leftovers: [...leftoversIn(hooks, this.#options.backend(), generation), ...legacy.own],
    });
  }

  forget(): void {
    this.#nft = undefined;
    this.#legacy = undefined;
    this.#hasIpsec = true;
  }

  async repair(input: string): Promise<void> {
    this.#nft = undefined;
    await this.#options.run(["nft", "-f", "-"], { stdin: input });
  }

  /** Needs several dumps: they show one state if the generation is the same before and after. */
  async #readNft(signal: AbortSignal): Promise<NftReading> {
    const { netlink, run, backend } = this.#options;
    for (let reading = 1; reading <= maxReadings; reading++) {
      // A kernel without nf_tables has only iptables-legacy.
      const generation = await orAbsent(readGeneration(netlink, signal), absences);
      if (generation === undefined) return nothing;
      const known = this.#nft;
      if (known?.generation === generation) return known;
      const hooks = await orUndefinedWhereGone(readNftHooks(netlink, signal));
      if (hooks === undefined) continue;
      const isKnown =
        known !== undefined && !known.foreign.some(asksForSet) && known.hooks.text === hooks.text;
      const read = isKnown
        ? { chains: known.foreign, isWhole: true }
        : await readForeignChains(hooks, backend(), run, signal);
      if ((await readGeneration(netlink, signal)) !== generation) continue;
      const reading = { generation, hooks: isKnown ? known.hooks : hooks, foreign: read.chains };
      this.#nft = read.isWhole ? reading : undefined;
      return reading;
    }
    throw new GatewayError("netlink-failed", `the ruleset changed during all ${maxReadings} readings`);
  }

  async #readLegacy(signal: AbortSignal): Promise<LegacyChains> {
    const { legacy = legacyTables, run, backend } = this.#options;
    const names = await legacy.names();
    const isOurs = backend() === "iptables-legacy";
    const asked = names.filter((name) => !isOurs || name !== "nat");
    const digest = asked.length === 0 ? "" : await legacy.digest(asked);
    if (digest !== undefined && digest === this.#legacy?.digest) return this.#legacy.chains;
    const { foreign, own } = await readLegacyChains(asked, run, signal);
    this.#legacyReadings++;
    const chains = {
      foreign,
      own: isOurs ? [] : own.map((name) => `${name}, reading ${this.#legacyReadings}`),
    };
    this.#legacy = digest === undefined ? undefined : { digest, chains };
    return chains;
  }
}

const legacyTables: LegacyTables = { names: legacyTableNames, digest: digestTables };

interface NftReading {
  readonly generation: number;
  readonly hooks: NftHooks;
  readonly foreign: readonly Chain[];
}

const maxReadings = 5;

const nothing: NftReading = {
  generation: 0,
  hooks: { tables: [], chains: [], text: "" },
  foreign: [],
};

/** Elements of sets change without a change of any rule. */
function asksForSet({ rules }: Chain): boolean {
  return rules.some(({ text }) => text.includes("@"));
}

function isSame(one: NetfilterObserved, other: NetfilterObserved): boolean {
  return (
    isSameValue(one.tables, other.tables) &&
    isSameValue(one.chains, other.chains) &&
    isSameValue(one.leftovers, other.leftovers) &&
    isSameList(one.foreign, other.foreign, isSameChain)
  );
}

function isSameChain({ rules, ...one }: Chain, { rules: others, ...other }: Chain): boolean {
  return isSameValue(one, other) && isSameList(rules, others, isSameRule);
}

/** The text decides what a rule does, unless it names a set: comparing the values of 50,000 rules takes too long. */
function isSameRule(one: ChainRule, other: ChainRule): boolean {
  return one.text === other.text && (!one.text.includes("@") || isSameValue(one, other));
}

function isSameList<T>(one: readonly T[], other: readonly T[], isEqual: (a: T, b: T) => boolean): boolean {
  if (one === other) return true;
  return (
    one.length === other.length &&
    one.every((value, at) => {
      const match = other[at] as T;
      return value === match || isEqual(value, match);
    })
  );
}

function isSameValue(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
