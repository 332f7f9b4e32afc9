/** Chains and rules of any tool as values: which packets a rule matches, and what happens to them. */

/** Where the kernel calls a chain. */
export interface Hook {
  readonly name: HookName;
  /** `filter`, `nat` or `route`. */
  readonly type: string;
  /** Lower values come first. */
  readonly priority: number;
  /** What happens to packets at the end of the chain. */
  readonly policy: "accept" | "drop";
  /** For `ingress` and `egress`: the interfaces. */
  readonly devices: readonly string[];
  /** True if it sees the addresses and ports with which packets came in, whatever was translated since. */
  readonly isAsReceived?: true;
}

export type HookName = "ingress" | "prerouting" | "input" | "forward" | "output" | "postrouting" | "egress";

export interface Chain {
  /** The tool and table: `iptables-legacy -t filter`, `nft inet fw`. */
  readonly place: string;
  readonly name: string;
  /** `undefined`: only other chains jump to it. */
  readonly hook: Hook | undefined;
  readonly rules: readonly ChainRule[];
}

export interface ChainRule {
  /** As its tool prints it. */
  readonly text: string;
  /** All of them must match. */
  readonly tests: readonly Test[];
  /**
   * Other conditions of the rule: none (`all`), some that match most packets (`rest`) or a part of any packets (`part`), or
   * unknown ones (`unclear`).
   */
  readonly beyond: Beyond;
  /** It may take the mark away by which the agent knows packets from the VPC. */
  readonly unmarks?: true;
  readonly effect: Effect;
}

export type Beyond = "all" | "rest" | "part" | "unclear";

/** How many packets match both conditions. */
export function bothBeyond(one: Beyond, other: Beyond): Beyond {
  return beyondOrder.indexOf(one) < beyondOrder.indexOf(other) ? other : one;
}

const beyondOrder: readonly Beyond[] = ["all", "rest", "part", "unclear"];

/** One property of packets, and the values that match. */
export type Test = NameTest | RangeTest;

export interface NameTest {
  /** `status`: which end of the flow was translated, `snat` or `dnat`. */
  readonly field: "in" | "out" | "protocol" | "state" | "status";
  /** The name of an interface may end with `*`. */
  readonly names: readonly string[];
  readonly isInverted: boolean;
}

export interface RangeTest {
  readonly field: "source" | "destination" | "sourcePort" | "destinationPort";
  readonly ranges: readonly Range[];
  readonly isInverted: boolean;
}

/** From the first to the last value: addresses as numbers, or ports. */
export type Range = readonly [number, number];

export type Effect =
  /** The packets leave the chain and continue: `accept` leaves all chains of the table, `return` this one. */
  | { readonly kind: "accept" | "return" | "continue" }
  | { readonly kind: "jump" | "goto"; readonly chain: string }
  /**
   * What it does to the packets, for people: `drops`. They do not reach their destination. `isMaybe`: or it lets all of
   * them pass, and nobody knows which.
   */
  | { readonly kind: "harm"; readonly verb: HarmVerb; readonly isMaybe?: true }
  /** It may be any of these. */
  | { readonly kind: "unclear" };

export type HarmVerb = "drops" | "translates" | "rewrites" | "does not track" | "takes";
