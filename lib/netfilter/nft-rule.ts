/** Parses one rule as nft prints it. Unknown parts make it `unclear`. */
import {
  type Beyond,
  bothBeyond,
  type ChainRule,
  type Effect,
  type HarmVerb,
  type NameTest,
  type Range,
  type Test,
} from "./chain.ts";
import { minTtl, protocolName, rangesOf } from "./iptables-chains.ts";
import { aboveRate, compared } from "./narrowing.ts";

/** Named objects of the rule's table. */
export interface NamedElements {
  /** The elements of sets of addresses. */
  readonly sets: ReadonlyMap<string, readonly Range[]>;
  /** The elements of verdict maps: `10.0.1.5 : drop`. */
  readonly verdicts: ReadonlyMap<string, readonly string[]>;
}

const nothingNamed: NamedElements = { sets: new Map(), verdicts: new Map() };

/** Beyond this, a verdict map is unknown: each of its elements is a rule that packets are followed through. */
const maxElements = 1_000;

/** A verdict map becomes one rule per element. */
export function parseNftRules(text: string, named: NamedElements = nothingNamed): readonly ChainRule[] {
  const [, before, anonymous, name = ""] = /^(.*) vmap (?:\{ (.*) \}|@(\S+))$/.exec(text) ?? [];
  const elements = anonymous?.split(", ") ?? named.verdicts.get(name);
  if (elements === undefined || elements.length > maxElements) return [parseNftRule(text, named.sets)];
  const rules = elements.map((element) => `${before} ${element.replace(" : ", " ")}`);
  return rules.map((rule) => ({ ...parseNftRule(rule, named.sets), text }));
}

type AddressSets = NamedElements["sets"];

function parseNftRule(text: string, sets: AddressSets): ChainRule {
  const reader = new RuleReader(text, sets);
  reader.read();
  const { tests, beyond, effect } = reader;
  return { text, tests, beyond, effect };
}

const harms: Readonly<Record<string, HarmVerb>> = {
  drop: "drops",
  reject: "drops",
  dnat: "translates",
  snat: "translates",
  masquerade: "translates",
  redirect: "translates",
  notrack: "does not track",
  tproxy: "takes",
  fwd: "takes",
};
const rewrites: Effect = { kind: "harm", verb: "rewrites" };
const mayRewrite: Effect = { kind: "harm", verb: "rewrites", isMaybe: true };
const mayNotTrack: Effect = { kind: "harm", verb: "does not track", isMaybe: true };
const ports: ReadonlySet<string> = new Set(["tcp", "udp", "sctp", "dccp", "udplite", "th"]);
const states = ["invalid", "established", "related", "new", "", "", "untracked"];

class RuleReader {
  readonly tests: Test[] = [];
  beyond: ChainRule["beyond"] = "all";
  effect: Effect = { kind: "continue" };
  readonly #words: string[];
  readonly #sets: AddressSets;

  constructor(text: string, sets: AddressSets) {
    this.#words = Array.from(text.matchAll(/"(?:[^"\\]|\\.)*"|\{[^}]*\}|\S+/g), ([word]) => word);
    this.#sets = sets;
  }

  read(): void {
    while (this.#words.length > 0) if (!this.#statement(this.#take())) this.#limitCertainty("unclear");
  }

  /** @returns false if the word is unknown */
  #statement(word: string): boolean {
    const verb = harms[word];
    if (verb !== undefined) return this.#end({ kind: "harm", verb });
    switch (word) {
      case "accept":
      case "return":
      case "continue":
        return this.#end({ kind: word });
      case "jump":
      case "goto":
        return this.#end({ kind: word, chain: this.#take() });
      case "queue":
      case "synproxy":
        return this.#end({ kind: "unclear" });
      case "dup":
      case "flow":
        return this.#end({ kind: "continue" });
      case "counter":
        if (this.#peek() === "packets") this.#skip(4);
        else if (this.#peek() === "name") this.#skip(2);
        return true;
      case "comment":
        return this.#skip(1);
      case "log":
        while (/^(?:prefix|level|group|snaplen|queue-threshold|flags)$/.test(this.#peek())) this.#skip(2);
        return true;
      case "limit":
        return this.#limit();
      case "add":
      case "update":
      case "delete":
        this.#skip(2);
        return this.#limitCertainty("part");
      case "iifname":
      case "iif":
        return this.#name("in");
      case "oifname":
      case "oif":
        return this.#name("out");
      case "ip":
        return this.#ip(this.#take());
      case "meta":
        return this.#meta(this.#take());
      case "ether":
        if (this.#take() === "type") return this.#isIpv4(["ip", "0x0800"]);
        if (this.#peek() === "set") return this.#end(rewrites);
        this.#operand();
        return this.#limitCertainty("part");
      case "ct":
        return this.#conntrack(this.#take());
      case "icmp":
        this.#is("protocol", ["icmp"]);
        this.#take();
        this.#operand();
        return this.#limitCertainty("part");
      case "ip6":
      case "icmpv6":
      case "arp":
        return this.#is("protocol", []);
      default:
        return ports.has(word) && this.#transport(word, this.#take());
    }
  }

  #ip(field: string): boolean {
    if (field === "version") return this.#isIpv4(["4"]);
    if (field === "protocol") return this.#name("protocol", protocolName);
    if (field !== "saddr" && field !== "daddr") {
      if (this.#peek() === "set") {
        const isFatal = field === "ttl" ? Number(this.#words[1]) < minTtl : !/^(?:dscp|ecn)$/.test(field);
        return isFatal ? this.#end(rewrites) : this.#skip(2);
      }
      return this.#size(field);
    }
    if (this.#peek() === "set") return this.#end(rewrites);
    const { values, isInverted } = this.#operand();
    const [set = ""] = values;
    const ranges = set.startsWith("@") ? this.#sets.get(set.slice(1)) : rangesOf(values);
    if (ranges === undefined) return false;
    this.tests.push({ field: field === "saddr" ? "source" : "destination", ranges, isInverted });
    return true;
  }

  #meta(key: string): boolean {
    if (this.#peek() === "set") {
      // The kernel forwards only what is for the host, but this may be a chain where it does not look any more.
      const isForOthers = key === "pkttype" && !/^(?:host|unicast|0)$/.test(this.#words[1] ?? "");
      return isForOthers ? this.#end(mayRewrite) : this.#skip(2);
    }
    if (key === "l4proto") return this.#name("protocol", protocolName);
    if (key === "nfproto") return this.#isIpv4(["ipv4", "2"]);
    if (key === "protocol") return this.#isIpv4(["ip", "0x0800"]);
    if (key === "length") return this.#size(key);
    this.#operand();
    return /^(?:priority|hour|day|time)$/.test(key) && this.#limitCertainty("part");
  }

  /** A field that is compared with a number. */
  #size(field: string): boolean {
    const comparator = this.#peek();
    const { values } = this.#operand(true);
    return this.#limitCertainty(compared(field, comparator, values[0] ?? ""));
  }

  /** `rate over 5/minute burst 5 packets`, `rate 10 mbytes/second`, `name "x"`. */
  #limit(): boolean {
    const isOver = this.#words[1] === "over";
    this.#skip(isOver ? 2 : 1);
    const rate = this.#take();
    if (/^\d+$/.test(rate)) this.#skip(1);
    if (this.#peek() === "burst") this.#skip(3);
    return this.#limitCertainty(isOver ? aboveRate(rate) : "part");
  }

  #conntrack(key: string): boolean {
    if (/^(?:original|reply)$/.test(key) && this.#peek() === "zone") return this.#conntrack(this.#take());
    // A flow is found again only if packets of both directions get the same zone.
    const isElsewhere = key === "zone" && this.#words[1] !== "0";
    if (this.#peek() === "set") return isElsewhere ? this.#end(mayNotTrack) : this.#skip(2);
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
    if (field === "option") {
      this.#words.splice(0);
      return true;
    }
    if (this.#peek() === "set") return this.#end(rewrites);
    const { values, isInverted } = this.#operand();
    if (field !== "dport" && field !== "sport") {
      if (this.#peek() === "/") this.#skip(2);
      // Only the first packet of a connection has the flag SYN alone.
      if (field === "flags" && values.join() === "syn") {
        this.tests.push({ field: "state", names: ["new"], isInverted });
        return true;
      }
      return this.#limitCertainty("part");
    }
    const ranges = values.map((value): Range => {
      const [first = Number.NaN, last = first] = value.split("-").map(Number);
      return [first, last];
    });
    if (!ranges.flat().every(Number.isInteger)) return false;
    this.tests.push({ field: field === "dport" ? "destinationPort" : "sourcePort", ranges, isInverted });
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
    // A set, a concatenation, a mask.
    if (/^[@.&]/.test(values[0] ?? "")) return false;
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
    this.#words.splice(0);
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
    const isInverted = this.#peek() === "!=";
    if (/^[!=<>]=?$|^==$/.test(this.#peek())) {
      if (!/^(?:!=|==)$/.test(this.#take()) && !isCompared) this.#limitCertainty("part");
    }
    const word = this.#take();
    if (word === "vmap") {
      this.#end({ kind: "unclear" });
      return { values: ["@"], isInverted };
    }
    // The fields of a concatenation end with the set of its values.
    if (word === ".") this.#skip(this.#words.findIndex((next) => /^[{@]/.test(next)) + 1);
    const values = word.replace(/^\{ | \}$/g, "").split(/, ?/);
    return { values: values.map((value) => value.replace(/^"|"$/g, "")), isInverted };
  }

  #peek(): string {
    return this.#words[0] ?? "";
  }

  #take(): string {
    return this.#words.shift() ?? "";
  }

  #skip(words: number): true {
    this.#words.splice(0, words);
    return true;
  }
}
