/** Chains and rules of whatever tool as values: which packets a rule is for, and what becomes of them. */

/** Where the kernel asks a chain. */
export interface Hook {
  readonly name: HookName;
  /** `filter`, `nat` or `route`. */
  readonly type: string;
  /** The lower comes first. */
  readonly priority: number;
  /** What becomes of packets at the chain's end. */
  readonly policy: "accept" | "drop";
  /** Of `ingress` and `egress`: the interfaces. */
  readonly devices: readonly string[];
}

export type HookName = "ingress" | "prerouting" | "input" | "forward" | "output" | "postrouting" | "egress";

export interface Chain {
  /** What tells of it, and what its table is called there: `iptables-legacy -t filter`, `nft inet fw`. */
  readonly place: string;
  readonly name: string;
  /** `undefined`: only others lead to it. */
  readonly hook: Hook | undefined;
  readonly rules: readonly ChainRule[];
}

export interface ChainRule {
  /** In the words of its tool. */
  readonly text: string;
  /** All of them must hold. */
  readonly tests: readonly Test[];
  /** What else it asks of packets: nothing, something that holds for some of any kind, something that is not understood. */
  readonly beyond: "all" | "part" | "unclear";
  readonly effect: Effect;
}

/** One property of packets, and the values that it may have. */
export type Test = NameTest | RangeTest;

export interface NameTest {
  readonly field: "in" | "out" | "protocol" | "state";
  /** An interface's may end with `*`. */
  readonly names: readonly string[];
  readonly isInverted: boolean;
}

export interface RangeTest {
  readonly field: "source" | "destination" | "sourcePort" | "destinationPort";
  readonly ranges: readonly Range[];
  readonly isInverted: boolean;
}

/** From the first to the last: addresses as numbers, or ports. */
export type Range = readonly [number, number];

export type Effect =
  /** They leave the chain, and go on: `accept` all chains of the table, `return` this one. */
  | { readonly kind: "accept" | "return" | "continue" }
  | { readonly kind: "jump" | "goto"; readonly chain: string }
  /** What it does to them, for people: `drops`. They do not come to where they were to go. */
  | { readonly kind: "harm"; readonly verb: HarmVerb }
  /** It may be any of these. */
  | { readonly kind: "unclear" };

export type HarmVerb = "drops" | "translates" | "rewrites" | "does not track" | "takes";
