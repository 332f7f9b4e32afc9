/** What foreign chains do to the packets of each object. */
import type { Chunked } from "../../chunked.ts";
import { ipv4 } from "../../model/ipv4.ts";
import type { ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { Chain, ChainRule, Test } from "../../netfilter/chain.ts";
import { type Harm, type Share, walk } from "../../netfilter/walk.ts";
import { isOwnChain } from "../iptables/owned.ts";
import { dstnat, forEachLegChunked, type Leg, packetsAt, srcnat } from "./journeys.ts";

export interface ForeignRules {
  /** Objects whose packets are certainly harmed, with the first harm found. */
  readonly harmed: ReadonlyMap<ObjectId, Harm>;
  /** All harm found, by its text, with the number of objects that it certainly harms. */
  readonly found: ReadonlyMap<string, { readonly harm: Harm; objects: number }>;
}

/** Free if all chains only let packets pass, else cheap per object and chain. */
export function* findForeignRulesChunked(program: Program, chains: readonly Chain[]): Chunked<ForeignRules> {
  const harmed = new Map<ObjectId, Harm>();
  const found = new Map<string, { harm: Harm; objects: number }>();
  const finder = new HarmFinder(chains);
  // Only IPv4 rules are read.
  if (finder.isHarmless || program.family !== ipv4) return { harmed, found };
  const counted = new Set<string>();
  yield* forEachLegChunked(program, (id, leg) => {
    for (const harm of finder.harmsTo(leg)) {
      const words = wordsFor(harm);
      const known = found.get(words) ?? { harm, objects: 0 };
      found.set(words, known);
      if (!harm.isSure) continue;
      if (!harmed.has(id)) harmed.set(id, harm);
      const key = `${id} ${words}`;
      if (!counted.has(key)) known.objects++;
      counted.add(key);
    }
  });
  return { harmed, found };
}

/** `iptables-nft -t filter -P FORWARD DROP drops`, `... may drop`. */
export function wordsFor({ where, verb, isSure }: Harm): string {
  return `${where} ${isSure ? verb : maybe[verb]}`;
}

const maybe: Readonly<Record<Harm["verb"], string>> = {
  drops: "may drop",
  translates: "may translate",
  rewrites: "may rewrite",
  takes: "may take",
  skips: "may skip",
  "does not track": "may not track",
};

class HarmFinder {
  readonly isHarmless: boolean;
  readonly #base: readonly Chain[];
  readonly #named = new Map<string, Chain>();
  readonly #fields: ReadonlySet<Test["field"]>;
  readonly #known = new Map<string, readonly Harm[]>();

  constructor(chains: readonly Chain[]) {
    this.#base = chains.filter(({ hook }) => hook !== undefined);
    for (const chain of chains) this.#named.set(`${chain.place} ${chain.name}`, chain);
    const rules = chains.flatMap((chain) => chain.rules);
    this.isHarmless = !chains.some(({ hook }) => hook?.policy === "drop") && !rules.some(mayHarm);
    this.#fields = new Set(rules.flatMap(({ tests }) => tests.map(({ field }) => field)));
  }

  /** Packets that no rule distinguishes have the same result. */
  harmsTo(leg: Leg): readonly Harm[] {
    const key = this.#keyOf(leg);
    const known = this.#known.get(key) ?? this.#find(leg);
    if (this.#known.size < maxKnown) this.#known.set(key, known);
    return known;
  }

  #keyOf(leg: Leg): string {
    const asks = (...fields: readonly Test["field"][]) => fields.some((field) => this.#fields.has(field));
    const ends = asks("source", "destination") ? [...leg.internal, ...leg.external] : [];
    const ports = asks("sourcePort", "destinationPort") ? [leg.internalPort, leg.externalPort] : [];
    return [leg.isInward, leg.isFirst, leg.in, leg.out, leg.protocol, ...ends, ...ports].join();
  }

  #find(leg: Leg): readonly Harm[] {
    return this.#base.flatMap((chain) => {
      const { hook } = chain;
      if (hook === undefined || !isOnWay(leg, chain)) return [];
      const leadsToOwn = hook.type === "nat" && isServedOn(leg, chain) && chain.rules.some(leadsToOwnChain);
      const entering = hook.type === "nat" ? enteringNat(leg, chain, leadsToOwn) : "all";
      if (entering === "none") return [];
      const chainNamed = (name: string) => this.#named.get(`${chain.place} ${name}`);
      return walk(chain, packetsAt(leg, hook), { chainNamed, isOwn: isOwnChain, leadsToOwn, entering });
    });
  }
}

/** Above this number the cached results are dropped: there can be as many as objects. */
const maxKnown = 1_000;

function mayHarm({ effect }: ChainRule): boolean {
  // An accept or a return does harm before a jump to the agent's chains.
  return effect.kind !== "continue" && effect.kind !== "jump";
}

function leadsToOwnChain({ effect }: ChainRule): boolean {
  return effect.kind === "jump" && isOwnChain(effect.chain);
}

function isOnWay(leg: Leg, { hook }: Chain): boolean {
  switch (hook?.name) {
    case "ingress":
      return hook.devices.includes(leg.in);
    case "egress":
      return hook.devices.includes(leg.out);
    case "prerouting":
    case "forward":
    case "postrouting":
      return hook.type !== "nat" || leg.isFirst;
    default:
      return false;
  }
}

/** True on the hook where the agent's rules translate these packets. */
function isServedOn(leg: Leg, { hook }: Chain): boolean {
  return hook?.name === (leg.isInward ? "prerouting" : "postrouting");
}

/**
 * Each hook translates a flow once, in the first chain that translates it: chains behind the agent's never see what the
 * agent translates. The order of chains with equal priority is unknown. Incoming flows are not translated again when
 * they leave for the VPC: that would hide the peer, but does no harm.
 */
function enteringNat(leg: Leg, chain: Chain, isShared: boolean): Share {
  if (isShared) return "all";
  const priority = chain.hook?.priority ?? 0;
  if (!isServedOn(leg, chain)) return leg.isInward ? "none" : "all";
  const own = leg.isInward ? dstnat : srcnat;
  return priority < own ? "all" : priority === own ? "unclear" : "none";
}
