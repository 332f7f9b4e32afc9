/** Parses one rule as nft prints it. Unknown parts make it `unclear`. */
import {
  type Beyond,
  bothBeyond,
  type ChainRule,
  type Effect,
  type NameTest,
  type Range,
  type Test,
} from "./chain.ts";
import { minTtl, protocolName, rangesOf, statuses } from "./iptables-chains.ts";
import { nftUnmarks } from "./marks.ts";
import { aboveCount, aboveRate, below, compared, havingTcpOption } from "./narrowing.ts";
import { effects, mayNotTrack, mayRewrite, rewrites } from "./nft-effects.ts";
import type { NamedObjects } from "./nft-named.ts";
import { NftWords } from "./nft-words.ts";
import { readNftFlags } from "./tcp-flags.ts";

export function parseNftRule(text: string, named: NamedObjects): ChainRule {
  const reader = new RuleReader(text, named);
  reader.read();
  const { tests, beyond, unmarks, effect } = reader;
  return { text, tests, beyond, ...(unmarks && { unmarks }), effect };
}

const ports: ReadonlySet<string> = new Set(["tcp", "udp", "sctp", "dccp", "udplite", "th"]);
const states = ["invalid", "established", "related", "new", "", "", "untracked"];

class RuleReader {
  readonly tests: Test[] = [];
  beyond: ChainRule["beyond"] = "all";
  unmarks = false;
  effect: Effect = { kind: "continue" };
  readonly #words: NftWords;
  readonly #named: NamedObjects;
  /** How many packets exceed the limits below which the rule matches. */
  readonly #limits: Beyond[] = [];

  constructor(text: string, named: NamedObjects) {
    this.#words = new NftWords(text);
    this.#named = named;
  }

  read(): void {
    while (!this.#words.isEmpty) if (!this.#statement(this.#words.take())) this.#limitCertainty("unclear");
    for (const above of this.#limits) this.#limitCertainty(below(above, this.effect));
  }

  /** @returns false if the word is unknown */
  #statement(word: string): boolean {
    const effect = effects[word];
    if (effect !== undefined) return this.#end(effect);
    switch (word) {
      case "jump":
      case "goto":
        return this.#end({ kind: word, chain: this.#words.take() });
      case "counter":
        if (this.#words.peek() === "packets") this.#words.skip(4);
        else if (this.#words.peek() === "name") this.#words.skip(2);
        return true;
      case "comment":
        return this.#words.skip(1);
      case "log":
        while (/^(?:prefix|level|group|snaplen|queue-threshold|flags)$/.test(this.#words.peek()))
          this.#words.skip(2);
        return true;
      case "limit":
        return this.#limit();
      case "add":
      case "update":
        this.#words.skip(1);
        return this.#element(this.#words.take());
      case "delete":
        return this.#words.skip(2);
      case "iifname":
      case "iif":
        return this.#name("in");
      case "oifname":
      case "oif":
        return this.#name("out");
      case "ip":
        return this.#ip(this.#words.take());
      case "meta":
        return this.#meta(this.#words.take());
      case "ether":
        if (this.#words.take() === "type") return this.#isIpv4(["ip", "0x0800"]);
        if (this.#words.peek() === "set") return this.#end(rewrites);
        // It may be that of the only router.
        this.#operand();
        return false;
      case "ct":
        return this.#conntrack(this.#words.take());
      case "icmp":
        this.#is("protocol", ["icmp"]);
        this.#words.take();
        this.#operand();
        return this.#limitCertainty("part");
      case "ip6":
      case "icmpv6":
      case "arp":
        return this.#is("protocol", []);
      default:
        return ports.has(word) && this.#transport(word, this.#words.take());
    }
  }

  #ip(field: string): boolean {
    if (field === "version") return this.#isIpv4(["4"]);
    if (field === "protocol" && this.#words.peek() !== "set") return this.#name("protocol", protocolName);
    if (field !== "saddr" && field !== "daddr") {
      if (this.#words.peek() === "set") {
        const isFatal =
          field === "ttl" ? Number(this.#words.peek(1)) < minTtl : !/^(?:dscp|ecn|id|frag-off)$/.test(field);
        return isFatal ? this.#end(rewrites) : this.#words.skip(2);
      }
      return this.#size(field);
    }
    if (this.#words.peek() === "set") return this.#end(rewrites);
    const { values, isInverted } = this.#operand();
    const [set = ""] = values;
    const ranges = set.startsWith("@") ? this.#named.sets.get(set.slice(1)) : rangesOf(values);
    if (ranges === undefined) return false;
    this.tests.push({ field: field === "saddr" ? "source" : "destination", ranges, isInverted });
    return true;
  }

  #meta(key: string): boolean {
    if (this.#words.peek() === "set") {
      if (key === "mark") this.unmarks ||= nftUnmarks(this.#words.text.slice("set ".length));
      // The kernel forwards only what is for the host, but this may be a chain where it does not look any more.
      const isForOthers = key === "pkttype" && !/^(?:host|unicast|0)$/.test(this.#words.peek(1));
      return isForOthers ? this.#end(mayRewrite) : this.#words.skip(2);
    }
    if (key === "l4proto") return this.#name("protocol", protocolName);
    if (key === "nfproto") return this.#isIpv4(["ipv4", "2"]);
    if (key === "protocol") return this.#isIpv4(["ip", "0x0800"]);
    if (key === "length" || key === "priority") return this.#size(key);
    this.#operand();
    return /^(?:hour|day|time)$/.test(key) && this.#limitCertainty("part");
  }

  /** A field that is compared with a number. */
  #size(field: string): boolean {
    let mask: number | undefined;
    if (this.#words.peek() === "&") {
      mask = Number(this.#words.peek(1));
      this.#words.skip(2);
    }
    const comparator = this.#words.peek();
    const { values } = this.#operand(true);
    return this.#limitCertainty(compared(field, comparator, values, mask));
  }

  /** `rate over 5/minute burst 5 packets`, `rate 10 mbytes/second`, `name "x"`. */
  #limit(): boolean {
    if (this.#words.peek() === "name") {
      this.#words.skip(1);
      const limit = this.#named.limits.get(this.#words.takeName());
      if (limit === undefined) return false;
      this.#words.putBack(limit);
    }
    const isOver = this.#words.peek(1) === "over";
    this.#words.skip(isOver ? 2 : 1);
    const rate = this.#words.take();
    const above = aboveRate(rate, /^\d+$/.test(rate) ? this.#words.take() : "");
    if (this.#words.peek() === "burst") this.#words.skip(3);
    if (isOver) return this.#limitCertainty(above);
    this.#limits.push(above);
    return true;
  }

  /** What is added to a set: `{ ip saddr timeout 1m limit rate over 5/minute }`. Packets match if its limit does. */
  #element(text: string): boolean {
    const [, limit, over, count = ""] =
      / (?:limit (.*?)|ct count (over )?(\d+))(?: : .*)? \}$/.exec(text) ?? [];
    if (limit !== undefined) {
      this.#words.putBack(limit);
      return this.#limit();
    }
    if (count === "") return true;
    if (over !== undefined) return this.#limitCertainty(aboveCount(count));
    this.#limits.push(aboveCount(count));
    return true;
  }

  #conntrack(key: string): boolean {
    if (/^(?:original|reply)$/.test(key) && this.#words.peek() === "zone")
      return this.#conntrack(this.#words.take());
    // A flow is found again only if packets of both directions get the same zone.
    const isElsewhere = key === "zone" && this.#words.peek(1) !== "0";
    const isEnding =
      key === "timeout" && this.#named.endingTimeouts.has(this.#words.peek(1).replaceAll('"', ""));
    if (this.#words.peek() === "set")
      return isElsewhere || isEnding ? this.#end(mayNotTrack) : this.#words.skip(2);
    if (key === "status") return this.#name("status");
    if (key !== "state") {
      this.#operand();
      return false;
    }
    const nameOf = (value: string) =>
      value.startsWith("0x") ? (states[Math.log2(Number(value))] ?? value) : value;
    return this.#name("state", nameOf);
  }

  #transport(protocol: string, field: string): boolean {
    if (protocol !== "th") this.#is("protocol", [protocol]);
    if (field === "option") return this.#tcpOption(this.#words.take());
    if (this.#words.peek() === "set") return this.#end(rewrites);
    if (field === "flags") return this.#flags();
    if (field !== "dport" && field !== "sport") return this.#size(`${protocol} ${field}`);
    const { values, isInverted } = this.#operand();
    const ranges = values.map((value): Range => {
      const [first = Number.NaN, last = first] = value.split("-").map(Number);
      return [first, last];
    });
    if (!ranges.flat().every(Number.isInteger)) return false;
    this.tests.push({ field: field === "dport" ? "destinationPort" : "sourcePort", ranges, isInverted });
    return true;
  }

  #flags(): boolean {
    const text = this.#words.takeRest();
    const share = readNftFlags(text);
    this.#words.putBack(text.slice(share?.length ?? 0));
    if (share === undefined) return false;
    if (share.test !== undefined) this.tests.push(share.test);
    return this.#limitCertainty(share.beyond);
  }

  /** `maxseg exists`, `maxseg size < 500`, `maxseg size set rt mtu`. */
  #tcpOption(name: string): boolean {
    const what = this.#words.take();
    if (what === "exists" || what === "missing")
      return this.#limitCertainty(havingTcpOption(name, what === "missing"));
    if (this.#words.peek() !== "set") return this.#size(name);
    this.#words.takeRest();
    return true;
  }

  /** All packets considered are IPv4. */
  #isIpv4(names: readonly string[]): boolean {
    const { values, isInverted } = this.#operand();
    if (values.some((value) => names.includes(value)) === isInverted) this.#is("protocol", []);
    return true;
  }

  #name(field: NameTest["field"], nameOf = (value: string) => value): boolean {
    const { values, isInverted } = this.#operand();
    // A set, a concatenation, a mask; another status than a translation.
    if (/^[@.&]/.test(values[0] ?? "")) return false;
    if (field === "status" && !values.every((value) => statuses.has(value))) return false;
    this.tests.push({ field, names: values.map(nameOf), isInverted });
    return true;
  }

  #is(field: NameTest["field"], names: readonly string[]): boolean {
    this.tests.push({ field, names, isInverted: false });
    return true;
  }

  /** The words that follow belong to the effect. */
  #end(effect: Effect): boolean {
    this.effect = effect;
    this.#words.takeRest();
    return true;
  }

  #limitCertainty(share: Beyond): true {
    this.beyond = bothBeyond(this.beyond, share);
    return true;
  }

  /**
   * Parses `!= 22`, `{ 80, 443 }`, `new,established`. A mask, a concatenation or a map is not supported.
   *
   * @param isCompared true if the caller knows how many packets a comparison matches
   */
  #operand(isCompared = false): { readonly values: readonly string[]; readonly isInverted: boolean } {
    const isInverted = /^!=?$/.test(this.#words.peek());
    if (/^[!=<>]=?$|^==$/.test(this.#words.peek())) {
      if (/^[<>]/.test(this.#words.take()) && !isCompared) this.#limitCertainty("part");
    }
    const word = this.#words.take();
    if (word === "vmap") {
      this.#end({ kind: "unclear" });
      return { values: ["@"], isInverted };
    }
    // The fields of a concatenation end with the set of its values.
    if (word === ".") this.#words.skipPast(/^[{@]/);
    const values = word.replace(/^\{ | \}$/g, "").split(/, ?/);
    return { values: values.map((value) => value.replace(/^"|"$/g, "")), isInverted };
  }
}
