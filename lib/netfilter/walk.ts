/**
 * Follows similar packets through chains. A rule may match all of them, a known part (one port, one peer), the rest
 * without such a part, or an unclear part. Only what happens to all of them is certain.
 */
import type { Chain, ChainRule, HarmVerb, NameTest, Range, RangeTest, Test } from "./chain.ts";

/** Similar packets. An absent property can have any value. */
export interface Packets {
  readonly in: string | undefined;
  readonly out: string | undefined;
  readonly source: Range | undefined;
  readonly destination: Range | undefined;
  readonly protocol: string | undefined;
  readonly sourcePort: Range | undefined;
  readonly destinationPort: Range | undefined;
  readonly state: string;
  /** `snat`, `dnat` or neither. */
  readonly status?: string;
}

/** `rest`: most of them, all but a part. */
export type Share = "all" | "rest" | "part" | "unclear" | "none";

export interface Harm {
  readonly verb: HarmVerb | "skips" | "unmarks";
  /** The rule or policy, after its place. */
  readonly where: string;
  /** True if it happens to all of the packets, false if it may happen. */
  readonly isSure: boolean;
}

export interface WalkOptions {
  /** Finds a chain of the same table by name. */
  readonly chainNamed: (name: string) => Chain | undefined;
  /** Chains of the agent: packets that reach them are served there. */
  readonly isOwn: (chain: string) => boolean;
  /** True if these chains lead to the agent's: packets that leave before are not served. */
  readonly leadsToOwn: boolean;
  /** True if only what unmarks the packets is asked for. */
  readonly asksUnmarking?: boolean;
  /** How many packets reach the chain at all. */
  readonly entering: Share;
}

/** @returns what harms the packets in `chain`, a chain that the kernel calls; harm to a part of them does not count */
export function walk(chain: Chain, packets: Packets, options: WalkOptions): readonly Harm[] {
  const walker = new Walker(packets, options);
  const rest = walker.walk(chain, options.entering, 0);
  if (chain.hook?.policy === "drop") {
    const harmed = both(options.entering, rest);
    if (!walker.isServed) walker.note(`${chain.place} -P ${chain.name} DROP`, "drops", harmed);
  }
  return walker.harms;
}

/** Jumps between chains: a path deeper than the kernel allows is a loop. */
const maxDepth = 16;

class Walker {
  readonly harms: Harm[] = [];
  isServed = false;
  readonly #packets: Packets;
  readonly #options: WalkOptions;

  constructor(packets: Packets, options: WalkOptions) {
    this.#packets = packets;
    this.#options = options;
  }

  /** @returns how many of the packets that enter come out at the end */
  walk(chain: Chain, entering: Share, depth: number): Share {
    let here: Share = "all";
    let lost: Share = "none";
    for (const rule of chain.rules) {
      const share = both(here, shareOf(rule, this.#packets));
      if (share === "none") continue;
      if (rule.unmarks === true) this.note(ruleText(chain, rule), "unmarks", both(entering, share));
      const gone = this.#follow(chain, rule, both(entering, share), depth);
      if (this.isServed) return "none";
      if (gone === "returns") here = without(here, share);
      else {
        const lostHere = both(share, gone);
        lost = either(lost, lostHere);
        here = without(here, lostHere);
        if (rule.effect.kind === "goto") here = without(here, share);
      }
      if (here === "none") break;
    }
    return without("all", lost);
  }

  /** @returns how many of the matched packets do not come back */
  #follow(chain: Chain, rule: ChainRule, share: Share, depth: number): Share | "returns" {
    const { effect } = rule;
    const where = ruleText(chain, rule);
    const { isOwn, leadsToOwn, chainNamed } = this.#options;
    switch (effect.kind) {
      case "continue":
        return "none";
      case "return":
        if (leadsToOwn && depth === 0) this.note(where, "skips", share);
        return "returns";
      case "accept":
        if (leadsToOwn) this.note(where, "skips", share);
        return "all";
      case "harm":
        // Even then it is no harm to all of the packets if it is a known part.
        this.note(where, effect.verb, effect.isMaybe && share === "all" ? "unclear" : share);
        return effect.verb === "does not track" || effect.verb === "rewrites" ? "none" : "all";
      case "unclear":
        this.note(where, "drops", both(share, "unclear"));
        return "unclear";
      case "jump":
      case "goto": {
        if (isOwn(effect.chain)) {
          if (leadsToOwn && share === "all") this.isServed = true;
          return "none";
        }
        const target = chainNamed(effect.chain);
        if (target === undefined || depth === maxDepth) return "none";
        return without("all", this.walk(target, share, depth + 1));
      }
    }
  }

  note(where: string, verb: Harm["verb"], share: Share): void {
    if ((verb === "unmarks") !== (this.#options.asksUnmarking === true)) return;
    if (share !== "part" && share !== "none") this.harms.push({ where, verb, isSure: share === "all" });
  }
}

/** A rule with its place, as its tool would name it. */
export function ruleText({ place, name }: Pick<Chain, "place" | "name">, { text }: ChainRule): string {
  return `${place}${/^(?:nft|tc|ip) /.test(place) ? ` ${name}:` : ` -A ${name}`} ${text}`;
}

/** How many of the packets a rule matches. */
export function shareOf({ tests, beyond }: ChainRule, packets: Packets): Share {
  let share: Share = beyond;
  for (const test of tests) {
    share = both(share, shareOfTest(test, packets));
    if (share === "none") break;
  }
  return share;
}

function shareOfTest(test: Test, packets: Packets): Share {
  const share =
    "names" in test ? shareOfNames(test, packets[test.field]) : shareOfRanges(test, packets[test.field]);
  return test.isInverted ? without("all", share) : share;
}

function shareOfNames({ field, names }: NameTest, value: string | undefined): Share {
  if (names.length === 0) return "none";
  if (value === undefined && field === "status") return "unclear";
  if (value === undefined) return field === "protocol" && names.some(isUsual) ? "rest" : "part";
  const isMatch = (name: string) =>
    name === value || (name.endsWith("*") && value.startsWith(name.slice(0, -1)));
  return names.some(isMatch) ? "all" : "none";
}

/** Without them, whoever uses the object says that nothing works. */
function isUsual(protocol: string): boolean {
  return protocol === "tcp" || protocol === "udp";
}

function shareOfRanges({ field, ranges }: RangeTest, value: Range | undefined): Share {
  const isPort = field === "sourcePort" || field === "destinationPort";
  const [from, to] = value ?? [0, isPort ? maxPort : maxAddress];
  if (ranges.some(([first, last]) => first <= from && to <= last)) return "all";
  let covered = 0;
  for (const [first, last] of ranges) covered += Math.max(0, Math.min(last, to) - Math.max(first, from) + 1);
  if (covered === 0) return "none";
  return 2 * covered > to - from ? "rest" : "part";
}

const maxPort = 0xffff;
const maxAddress = 0xffffffff;

/** The intersection. */
function both(one: Share, other: Share): Share {
  if (one === "none" || other === "none") return "none";
  if (one === "unclear" || other === "unclear") return "unclear";
  if (one === "part" || other === "part") return "part";
  return one === "all" ? other : one;
}

/** The union. Two parts together may or may not be all. */
function either(one: Share, other: Share): Share {
  if (one === "all" || other === "all") return "all";
  if (one === "unclear" || other === "unclear") return "unclear";
  if (one === "rest" || other === "rest") return "rest";
  return one === "none" ? other : one;
}

/** The packets of `one` that are not in `other`. */
function without(one: Share, other: Share): Share {
  if (one === "none" || other === "all") return "none";
  if (other === "none") return one;
  if (other === "unclear" || one === "unclear") return "unclear";
  return one === "part" || other === "rest" ? "part" : "rest";
}
