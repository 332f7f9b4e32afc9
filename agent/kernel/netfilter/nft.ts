/** Reads tables and chains of nf_tables by netlink, and foreign rules with the tools that print them. */

import { GatewayError } from "../../../lib/model/errors.ts";
import type { Chain, ChainRule } from "../../../lib/netfilter/chain.ts";
import { parseIptablesChainsChunked } from "../../../lib/netfilter/iptables-chains.ts";
import { parseNftListingChunked } from "../../../lib/netfilter/nft-chains.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { backendsTable } from "../../../lib/nftables/backends.ts";
import {
  decodeChain,
  decodeRule,
  decodeTable,
  dumpChainRules,
  dumpChains,
  dumpTables,
  type NftRule,
  type NftTable,
} from "../../../lib/nftables/chains.ts";
import { tableLabel } from "../../../lib/nftables/family.ts";
import { isListable } from "../../../lib/nftables/foreign.ts";
import { tableName } from "../../../lib/nftables/maps.ts";
import { ownTables } from "../../../lib/nftables/own-tables.ts";
import { isOwnChain } from "../../../lib/plan/iptables/owned.ts";
import type { ObservedChain } from "../../../lib/plan/netfilter/observed.ts";
import { runYielding } from "../../run-yielding.ts";
import type { RulesDriver } from "../drivers.ts";
import type { DumpVisitor, NetlinkConnection } from "../netlink/connection.ts";
import type { Run } from "../run.ts";
import { whole } from "./legacy.ts";

export interface NftHooks {
  readonly tables: readonly NftTable[];
  readonly chains: readonly ObservedChain[];
  /** Differs if anything foreign differs, except elements of sets. */
  readonly text: string;
}

/** The families whose chains see routed packets or their ARP. */
const families: ReadonlySet<string> = new Set(["ip", "inet", "netdev", "arp"]);

/** The tables of every family. */
export function readTables(netlink: NetlinkConnection, signal: AbortSignal): Promise<readonly NftTable[]> {
  return dump(netlink, dumpTables, decodeTable, signal);
}

/** Several dumps. Their cost depends on the number of foreign chains. */
export async function readNftHooks(netlink: NetlinkConnection, signal: AbortSignal): Promise<NftHooks> {
  const tables = await readTables(netlink, signal);
  const ours = tables.filter(({ label }) => families.has(label.split(" ")[0] ?? ""));
  const chains: ObservedChain[] = [];
  const handles: string[] = [];
  for (const chain of await dump(netlink, dumpChains, decodeChain, signal)) {
    if (!ours.some(({ label }) => label === chain.table)) continue;
    const isRead = !ownTables.has(chain.table) && !isOwnChain(`nft ${chain.table}`, chain.name);
    const rules = isRead ? await dump(netlink, dumpChainRules(chain), decodeRule, signal) : noRules;
    chains.push({ ...chain, targets: rules.map(({ target }) => target) });
    handles.push(`${chain.table} ${chain.name} ${rules.map(({ handle }) => handle).join()}`);
  }
  return { tables: ours, chains, text: JSON.stringify([ours, chains, handles]) };
}

/**
 * The agent's own tables and chains of dataplanes that are not in use. The rules of such chains are not read: with each
 * generation they may differ.
 */
export function leftoversIn(
  { tables, chains }: NftHooks,
  backend: RulesDriver["backend"],
  generation: number,
): readonly string[] {
  const unused = tableLabel(backend === "nftables" ? backendsTable : tableName);
  const left = tables.filter(({ label }) => label === unused).map(({ label }) => `nft ${label}`);
  if (backend === "iptables-nft") return left;
  const own = chains.filter(({ table, name }) => isOwnChain(`nft ${table}`, name));
  return [...left, ...own.map(({ table, name }) => `nft ${table} ${name}, generation ${generation}`)];
}

/**
 * The foreign rules of each table, as printed by the tool that created it: iptables for its own tables, nft for all
 * others. Rules that no tool can print may do anything.
 */
export async function readForeignChains(
  { tables, chains }: NftHooks,
  backend: RulesDriver["backend"],
  run: Run,
  signal: AbortSignal,
): Promise<ForeignReading> {
  let isWhole = true;
  const orUndefined = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof GatewayError)) throw error;
      isWhole = false;
      return undefined;
    }
  };
  const read = tables.map(async ({ label, isDormant }): Promise<readonly Chain[]> => {
    const its = chains.filter(({ table, name }) => table === label && !isOwnChain(`nft ${label}`, name));
    const isBuiltIn = isOfIptables(label) && its.every(({ name, hook }) => !hook || builtIn.test(name));
    // iptables leaves out chains that nft put on a hook.
    const isRead = backend === "iptables-nft" && label === "ip nat";
    if (isDormant || (isRead && isBuiltIn) || ownTables.has(label) || !its.some(doesAnything)) return [];
    const byIptables = isBuiltIn ? await orUndefined(() => listByIptables(label, run, signal)) : undefined;
    if (byIptables !== undefined) return byIptables;
    const listing = isListable(label) ? await orUndefined(() => listByNft(label, run, signal)) : undefined;
    if (listing?.isLasting === false) isWhole = false;
    const byNft = listing?.chains;
    const rulesOf = (chain: string) => (byNft === undefined ? [notListed] : (byNft.get(chain) ?? []));
    const named = its.map(({ name, hook }) => ({
      place: `nft ${label}`,
      name,
      hook: isRead && builtIn.test(name) ? undefined : hook,
      rules: rulesOf(name),
    }));
    // The kernel has names for the chains that rules have in braces, which nft does not print.
    const inBraces = [...(byNft ?? [])].filter(([name]) => name.startsWith("{"));
    return [
      ...named,
      ...inBraces.map(([name, rules]) => ({ place: `nft ${label}`, name, hook: undefined, rules })),
    ];
  });
  const chainsRead = (await Promise.all(read)).flat();
  return { chains: chainsRead, isWhole };
}

export interface ForeignReading {
  readonly chains: readonly Chain[];
  /** False where a tool failed, or elements of sets come and go by themselves: the next reading may differ. */
  readonly isWhole: boolean;
}

const builtIn = /^(?:PRE|POST)ROUTING$|^INPUT$|^OUTPUT$|^FORWARD$/;

function isOfIptables(label: string): boolean {
  return /^ip (?:raw|mangle|nat|filter|security)$/.test(label);
}

function doesAnything({ hook, targets }: ObservedChain): boolean {
  return targets.length > 0 || hook?.policy === "drop";
}

/** `undefined` if it has rules that iptables cannot print. */
async function listByIptables(
  label: string,
  run: Run,
  signal: AbortSignal,
): Promise<readonly Chain[] | undefined> {
  const { stdout } = await run(["iptables-nft-save", "-t", label.slice("ip ".length)], { signal });
  if (/^# Table `.*(?:is|contains) incompatible/m.test(stdout)) return undefined;
  return runYielding(parseIptablesChainsChunked(whole(stdout), "iptables-nft", isOwnChain));
}

async function listByNft(label: string, run: Run, signal: AbortSignal) {
  const { stdout } = await run(["nft", "-s", "-a", "list", "table", ...label.split(" ")], { signal });
  if (!stdout.endsWith("\n}\n")) throw new GatewayError("unreadable", `nft printed a part of table ${label}`);
  const chains = await runYielding(parseNftListingChunked(stdout));
  return { chains, isLasting: !/^\t\tflags .*\b(?:timeout|dynamic)\b/m.test(stdout) };
}

const notListed: ChainRule = {
  text: "(nft cannot list it)",
  tests: [],
  beyond: "unclear",
  effect: { kind: "unclear" },
};

const noRules: readonly NftRule[] = [];

async function dump<T>(
  netlink: NetlinkConnection,
  message: NetlinkMessage,
  decode: (...message: Parameters<DumpVisitor>) => T | undefined,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const found: T[] = [];
  await netlink.dump(
    message,
    (...part) => {
      const one = decode(...part);
      if (one !== undefined) found.push(one);
    },
    signal,
    () => found.splice(0),
  );
  return found;
}
