/** Follows one packet through the chains of a hook, as the kernel calls them. */
import type { Chunked } from "../chunked.ts";
import type { Family } from "../model/family.ts";
import type { Chain, ChainRule, HookName } from "../netfilter/chain.ts";
import { ruleText, shareOf } from "../netfilter/walk.ts";
import { isOwnChain } from "../plan/iptables/owned.ts";
import { dstnat, srcnat } from "../plan/netfilter/journeys.ts";
import { foreignTarget } from "./foreign-target.ts";
import type { Hit, OwnRules } from "./own-rules.ts";
import { type Endpoint, type Packet, packetsOf } from "./packet.ts";

/** A translation on the way. */
export interface Translation extends Hit {
  /** True if a rule of another program makes it. */
  readonly isForeign: boolean;
}

export interface Followed {
  readonly packet: Packet;
  readonly translations: readonly Translation[];
  /** The rule or policy that ends it here. */
  readonly stop: string | undefined;
  /** Rules of other programs whose effect on the packet is not known. */
  readonly uncertain: readonly string[];
  /** The rule because of which conntrack does not see it. */
  readonly untracked: string | undefined;
}

/** What an existing flow does to the packet. */
export interface FlowTranslation {
  readonly source: Endpoint | undefined;
  readonly destination: Endpoint | undefined;
}

export function isTranslating(nat: FlowTranslation | undefined): boolean {
  return nat?.source !== undefined || nat?.destination !== undefined;
}

export interface FollowOptions {
  /** Foreign chains, and built-in ones that jump to the agent's. */
  readonly chains: readonly Chain[];
  readonly own: OwnRules;
  readonly family: Family;
  /** `rules`: the packet starts a flow. `none`: conntrack does not see it. */
  readonly nat: "rules" | "none" | FlowTranslation;
  /** Which of several backends is drawn. */
  readonly draw: number;
  /** The address that MASQUERADE takes. */
  readonly masqueradeAs: (packet: Packet) => Endpoint | undefined;
  /** The packet as it came in. */
  readonly received: Packet;
}

/** One thing that the kernel calls on a hook. */
interface Called {
  readonly priority: number;
  /** `rules`: a nat chain, only for what starts a flow. `flow`: the translation of a flow. Both need conntrack. */
  readonly nat: "rules" | "flow" | "none";
  run(packet: Packet): Chunked<Outcome>;
}

interface Outcome {
  readonly stop?: string;
  readonly hit?: Translation;
  readonly untracked?: string;
  readonly packet?: Packet;
}

export function* follow(name: HookName, packet: Packet, options: FollowOptions): Chunked<Followed> {
  const { nat } = options;
  const uncertain: string[] = [];
  const translations: Translation[] = [];
  let [now, untracked]: [Packet, string | undefined] = [packet, undefined];
  let isTranslated = false;
  for (const { nat: needs, run } of calledOn(name, packet, options, uncertain)) {
    if (needs !== "none" && (untracked !== undefined || nat === "none")) continue;
    if (needs === "rules" && (nat !== "rules" || isTranslated)) continue;
    const outcome = yield* run(now);
    if (outcome.packet !== undefined) now = outcome.packet;
    if (outcome.hit !== undefined) {
      translations.push(outcome.hit);
      isTranslated = true;
      const { side, to } = outcome.hit;
      now = translate(now, side, to[options.draw % to.length] ?? to[0]);
    }
    untracked = outcome.untracked ?? untracked;
    if (outcome.stop !== undefined)
      return { packet: now, translations, stop: outcome.stop, uncertain, untracked };
  }
  return { packet: now, translations, stop: undefined, uncertain, untracked };
}

export function translate(packet: Packet, side: Hit["side"], { address, port }: Endpoint): Packet {
  if (side === "source") return { ...packet, source: address, sourcePort: port };
  return {
    ...packet,
    destination: address,
    destinationPort: port ?? packet.destinationPort,
    isRedirected: true,
  };
}

/** In the order of their priorities. */
function calledOn(
  name: HookName,
  packet: Packet,
  options: FollowOptions,
  uncertain: string[],
): readonly Called[] {
  const { chains, own, nat } = options;
  const called: Called[] = [];
  for (const chain of chains) {
    const { hook } = chain;
    if (hook?.name !== name) continue;
    if (name === "ingress" && !hook.devices.includes(packet.in)) continue;
    if (name === "egress" && !hook.devices.includes(packet.out ?? "")) continue;
    const walker = new ChainWalker(options, uncertain);
    called.push({
      priority: hook.priority,
      nat: hook.type === "nat" ? "rules" : "none",
      run: (now) => walker.run(chain, hook.isAsReceived ? asReceived(now, options.received) : now),
    });
  }
  for (const { hook, priority, translate: run } of own.hooks) {
    if (hook !== name) continue;
    called.push({
      priority,
      nat: "rules",
      *run(now) {
        const hit = yield* run(now);
        return hit === undefined ? {} : { hit: { ...hit, isForeign: false } };
      },
    });
  }
  if (typeof nat !== "string") called.push(...flowCalls(name, nat));
  return called.sort((one, other) => one.priority - other.priority);
}

function asReceived(now: Packet, { source, sourcePort, destination, destinationPort }: Packet): Packet {
  return { ...now, source, sourcePort, destination, destinationPort };
}

/** The kernel translates the packets of a flow where its nat chains are. */
function flowCalls(name: HookName, { source, destination }: FlowTranslation): readonly Called[] {
  const call = (priority: number, side: Hit["side"], to: Endpoint): Called => ({
    priority,
    nat: "flow",
    // biome-ignore lint/correctness/useYield: nothing to look at
    *run(packet) {
      return { packet: translate(packet, side, to) };
    },
  });
  if (name === "prerouting" && destination !== undefined) return [call(dstnat, "destination", destination)];
  if (name === "postrouting" && source !== undefined) return [call(srcnat, "source", source)];
  return [];
}

type End = Outcome | "accepted" | "returned" | "continues";

/** Jumps between chains: a path deeper than the kernel allows is a loop. */
const maxDepth = 16;
/** Maximum number of rules that an answer names. */
const maxUncertain = 10;
/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;

class ChainWalker {
  readonly #options: FollowOptions;
  readonly #uncertain: string[];
  #untracked: string | undefined;
  #seen = 0;

  constructor(options: FollowOptions, uncertain: string[]) {
    this.#options = options;
    this.#uncertain = uncertain;
  }

  *run(chain: Chain, packet: Packet): Chunked<Outcome> {
    this.#untracked = undefined;
    const end = yield* this.#walk(chain, packet, 0);
    const isAtEnd = end === "continues" || end === "returned";
    const outcome = typeof end === "string" ? {} : end;
    const untracked = this.#untracked === undefined ? {} : { untracked: this.#untracked };
    if (isAtEnd && chain.hook?.policy === "drop")
      return { ...untracked, stop: `${chain.place} -P ${chain.name} DROP` };
    return { ...untracked, ...outcome };
  }

  *#walk(chain: Chain, packet: Packet, depth: number): Chunked<End> {
    for (const rule of chain.rules) {
      if (++this.#seen % lookedAtOnce === 0) yield;
      const share = shareOf(rule, packetsOf(packet, this.#options.family));
      if (share === "none") continue;
      if (share !== "all") {
        this.#note(chain, rule);
        continue;
      }
      const end = yield* this.#apply(chain, rule, packet, depth);
      if (end !== "continues") return end;
    }
    return "continues";
  }

  *#apply(chain: Chain, rule: ChainRule, packet: Packet, depth: number): Chunked<End> {
    const { effect } = rule;
    switch (effect.kind) {
      case "continue":
        return "continues";
      case "accept":
        return "accepted";
      case "return":
        return "returned";
      case "unclear":
        this.#note(chain, rule);
        return "continues";
      case "jump":
      case "goto": {
        const end = yield* this.#enter(chain, effect.chain, packet, depth);
        if (end !== "continues" && end !== "returned") return end;
        return effect.kind === "goto" ? "returned" : "continues";
      }
      case "harm":
        if (effect.isMaybe) {
          this.#note(chain, rule);
          return effect.verb === "does not track" || effect.verb === "rewrites" ? "continues" : "accepted";
        }
        switch (effect.verb) {
          case "drops":
          case "takes":
            return { stop: ruleText(chain, rule) };
          case "does not track":
            this.#untracked = ruleText(chain, rule);
            return "continues";
          case "rewrites":
            this.#note(chain, rule);
            return "continues";
          case "translates":
            return this.#translated(chain, rule, packet);
        }
    }
  }

  *#enter(chain: Chain, name: string, packet: Packet, depth: number): Chunked<End> {
    if (isOwnChain(chain.place, name)) {
      if (chain.hook === undefined || chain.hook.type !== "nat") return "continues";
      const hit = yield* this.#options.own.enter(name, packet);
      return hit === undefined ? "continues" : { hit: { ...hit, isForeign: false } };
    }
    const target = this.#options.chains.find((one) => one.place === chain.place && one.name === name);
    if (target === undefined || depth === maxDepth) return "continues";
    return yield* this.#walk(target, packet, depth + 1);
  }

  #translated(chain: Chain, rule: ChainRule, packet: Packet): End {
    const { family, masqueradeAs } = this.#options;
    const target = foreignTarget(rule.text, family);
    const to = target?.to ?? (target?.side === "source" ? masqueradeAs(packet) : undefined);
    if (target === undefined || to === undefined) {
      this.#note(chain, rule);
      return "continues";
    }
    return { hit: { rule: ruleText(chain, rule), side: target.side, to: [to], isForeign: true } };
  }

  #note(chain: Chain, rule: ChainRule): void {
    const isHarmless = rule.effect.kind === "continue";
    if (!isHarmless && this.#uncertain.length < maxUncertain) this.#uncertain.push(ruleText(chain, rule));
  }
}
