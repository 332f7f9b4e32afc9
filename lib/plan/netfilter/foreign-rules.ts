/**
 * Finds the rules of other programs that harm packets of objects. The packets of each object are followed through the
 * chains on their path, those in one direction at a time (a {@link Leg}).
 */
import type { Chunked } from "../../chunked.ts";
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

/**
 * Finds nothing for a family whose rules nobody parses. Costs nothing if all chains only let packets pass, otherwise a
 * little for each object and chain.
 */
export function* findForeignRulesChunked(
  program: Program,
  chains: readonly Chain[],
  hasBackendsTable = false,
): Chunked<ForeignRules> {
  const harmed = new Map<ObjectId, Harm>();
  const found = new Map<string, { harm: Harm; objects: number }>();
  yield;
  const finder = new HarmFinder(chains);
  yield;
  if (finder.isHarmless || !program.family.hasRuleParser) return { harmed, found };
  const counted = new Set<string>();
  const ruleCount = chains.reduce((sum, { rules }) => sum + rules.length, 0);
  const objectsAtOnce = Math.max(1, Math.min(500, Math.floor(rulesAtOnce / (ruleCount + 1))));
  yield* forEachLegChunked(program, hasBackendsTable, objectsAtOnce, (id, leg) => {
    for (const harm of finder.harmsTo(leg)) {
      const text = harmText(harm);
      const known = found.get(text) ?? { harm, objects: 0 };
      found.set(text, known);
      if (!harm.isSure) continue;
      if (!harmed.has(id)) harmed.set(id, harm);
      const key = `${id} ${text}`;
      if (!counted.has(key)) known.objects++;
      counted.add(key);
    }
  });
  return { harmed, found };
}

/** Packets of an object may have to be followed through all rules. Takes a few milliseconds. */
const rulesAtOnce = 50_000;

/** The rule and what it does: `iptables-nft -t filter -P FORWARD DROP drops`, or `... may drop`. */
export function harmText({ where, verb, isSure }: Harm): string {
  return `${where} ${isSure ? verb : maybe[verb]}`;
}

const maybe: Readonly<Record<Harm["verb"], string>> = {
  drops: "may drop",
  unmarks: "may unmark",
  translates: "may translate",
  rewrites: "may rewrite",
  takes: "may take",
  skips: "may skip",
  "does not track": "may not track",
};

class HarmFinder {
  /** True if no rule or policy can harm any packet. */
  readonly isHarmless: boolean;
  /** The chains that the kernel calls. */
  readonly #baseChains: readonly Chain[];
  /** By place and name. */
  readonly #chains = new Map<string, Chain>();
  /** The properties of packets that rules test. */
  readonly #testedFields: ReadonlySet<Test["field"]>;
  readonly #cached = new Map<string, readonly Harm[]>();

  constructor(chains: readonly Chain[]) {
    this.#baseChains = chains.filter(({ hook }) => hook !== undefined);
    for (const chain of chains) this.#chains.set(`${chain.place} ${chain.name}`, chain);
    this.isHarmless = !chains.some(({ hook, rules }) => hook?.policy === "drop" || rules.some(mayHarm));
    const testedFields = new Set<Test["field"]>();
    for (const { rules } of chains)
      for (const { tests } of rules) for (const { field } of tests) testedFields.add(field);
    this.#testedFields = testedFields;
  }

  /** What harms these packets. Packets that no rule distinguishes share one result. */
  harmsTo(leg: Leg): readonly Harm[] {
    const key = this.#keyOf(leg);
    const harms = this.#cached.get(key) ?? this.#find(leg);
    if (this.#cached.size < maxCached) this.#cached.set(key, harms);
    return harms;
  }

  /** Equal for packets that no rule distinguishes. */
  #keyOf(leg: Leg): string {
    const areTested = (...fields: readonly Test["field"][]) =>
      fields.some((field) => this.#testedFields.has(field));
    const ends = areTested("source", "destination") ? [...leg.internal, ...leg.external] : [];
    const ports = areTested("sourcePort", "destinationPort") ? [leg.internalPort, leg.externalPort] : [];
    const { isInward, isFirst, isBegunInward, protocol, dstnat: priority } = leg;
    return [isInward, isFirst, isBegunInward, leg.in, leg.out, protocol, priority, ...ends, ...ports].join();
  }

  #find(leg: Leg): readonly Harm[] {
    const harms = this.#baseChains.flatMap((chain) => {
      const { hook } = chain;
      if (hook === undefined || !isOnPath(leg, chain)) return [];
      const leadsToOwn = hook.type === "nat" && isTranslatedBy(leg, chain);
      const entering = hook.type === "nat" ? enteringNat(leg, chain, leadsToOwn) : "all";
      if (entering === "none") return [];
      const chainNamed = (name: string) => this.#chains.get(`${chain.place} ${name}`);
      const isOwn = (name: string) => isOwnChain(chain.place, name);
      return walk(chain, packetsAt(leg, hook), { chainNamed, isOwn, leadsToOwn, entering });
    });
    // A rule that is asked twice, before and after translation, may be certain only once.
    const sure = new Set(harms.filter(({ isSure }) => isSure).map(({ where }) => where));
    return harms.filter(({ isSure, where }) => isSure || !sure.has(where));
  }
}

/** More results than this are not cached: there can be as many as objects. */
const maxCached = 1_000;

function mayHarm({ effect }: ChainRule): boolean {
  // An accept or a return counts too: before a jump to the agent's chains it skips them.
  return effect.kind !== "continue" && effect.kind !== "jump";
}

/** True if the chain leads to the agent's rules for these packets. */
function isTranslatedBy(leg: Leg, chain: Chain): boolean {
  // What a chain behind that one translates does not depend on its jumps.
  const isHere = !leg.isInward || leg.dstnat === dstnat;
  return isHere && isTranslatedOn(leg, chain) && chain.rules.some((rule) => jumpsToOwnChain(chain, rule));
}

function jumpsToOwnChain({ place }: Chain, { effect }: ChainRule): boolean {
  return effect.kind === "jump" && isOwnChain(place, effect.chain);
}

function isOnPath(leg: Leg, { hook }: Chain): boolean {
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
function isTranslatedOn(leg: Leg, { hook }: Chain): boolean {
  return hook?.name === (leg.isInward ? "prerouting" : "postrouting");
}

/**
 * How many of the packets reach a nat chain. On each hook the first chain that translates a flow wins, and later ones
 * never see the flow. So chains after the agent's do not see what the agent translates. The order of chains with equal
 * priority is unknown.
 *
 * @param leadsToOwn true if the chain itself jumps to the agent's chains
 */
function enteringNat(leg: Leg, chain: Chain, leadsToOwn: boolean): Share {
  if (leadsToOwn) return "all";
  const priority = chain.hook?.priority ?? 0;
  // In postrouting another program may masquerade incoming flows: that hides the peer, but does no harm.
  if (!isTranslatedOn(leg, chain)) return leg.isInward ? "none" : "all";
  const own = leg.isInward ? leg.dstnat : srcnat;
  return priority < own ? "all" : priority === own ? "unclear" : "none";
}
