/**
 * The table of rate limits. It puts packets into classes of the queueing disciplines, or drops what is too much. In
 * nft's words, for a device limit, a limit of a network and limits of EIPs:
 *
 *     table ip natgw_qos
 *       map eips_0 { type ipv4_addr : classid; 203.0.113.10 comment "priority 5" : 1:a3f }
 *       map eips_1 { type ipv4_addr : classid; 203.0.113.10 : 1:77 }
 *       set over_0 { type ipv4_addr; 203.0.113.11 limit rate over 125000 bytes/second burst 131072 bytes }
 *       chain postrouting { type filter hook postrouting priority 200;
 *         oifname "net1" iif != 0 meta priority set 1:2
 *         oifname "net1" iif != 0 ip daddr 198.51.100.0/24 meta priority set 1:b1
 *         oifname "net1" iif != 0 meta priority set ip saddr map @eips_0
 *         oifname "eth0" iifname "net1" ct direction original meta priority set ct original ip daddr map @eips_1
 *         oifname "eth0" iifname "net1" ct direction reply meta priority set ct reply ip daddr map @eips_1
 *         oifname "net2" iif != 0 ip saddr @over_0 counter name policy_egress drop
 *       }
 *
 * A packet takes the class of the last rule that matches. The chain comes after NAT: what leaves has its final
 * addresses, and conntrack knows those with which a packet came in. The class is set here and not earlier, because
 * forwarding overwrites it. Packets that the gateway itself sends (iif 0) are not limited: BGP and BFD go on.
 *
 * The comments are for an agent that has lost its state: the order of the rules does not tell every priority.
 */
import { isSameMap } from "../memoize.ts";
import type { Cidr } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import { type DefinitionLines, isSameDefinition } from "./definition-lines.ts";
import type { RateLimit } from "./expressions.ts";
import { field } from "./fields.ts";
import type { ElementMap } from "./maps.ts";

export const qosTable = "natgw_qos";
export const qosChain = "postrouting";
/** After srcnat, before the gate. */
export const qosPriority = 200;

/** What limits without classes drop, on its way out of the VPC or into it. */
export const policyCounters = ["policy_egress", "policy_ingress"] as const;
export type PolicyCounter = (typeof policyCounters)[number];

/** EIP to class. */
export const classMap: ElementMap = { key: [field.address], value: [field.class], isInterval: false };

/** The address of packets that a rule looks at, as it is on the wire of an interface. */
export interface QosAddress {
  readonly side: "source" | "destination";
  /** True: as the packet came in, before NAT. False: as it leaves. */
  readonly isBeforeNat: boolean;
}

/** The packets that a rule looks at. */
export interface QosPackets {
  /** Where the packets leave. */
  readonly out: InterfaceName;
  /** Where they came in. `undefined`: anywhere. */
  readonly in: InterfaceName | undefined;
  /** `undefined`: all packets. */
  readonly address: QosAddress | undefined;
}

export interface QosRule extends QosPackets {
  /** Of its limit, if it is for one limit only. */
  readonly priority?: number | undefined;
  /** Counts what the rule drops. An import also reads rules without. */
  readonly counter?: PolicyCounter | undefined;
  readonly match: /** The address is in the network; without an address: always. */
    | { readonly network: Cidr | undefined; readonly verdict: QosVerdict }
    /** The address is an element of a map, whose value is the class. */
    | { readonly map: string }
    /** The address is an element of a set, and the element's limit is exceeded: drop. */
    | { readonly set: string };
}

/** The class to set, or the limit beyond which to drop. */
export type QosVerdict = { readonly class: number } | { readonly over: RateLimit };

/** The table without elements. */
export interface QosDefinition {
  readonly maps: readonly string[];
  readonly sets: readonly string[];
  readonly rules: readonly QosRule[];
}

/**
 * Elements by map or set, then value by EIP. The value of a map is a class `1:a3f`, of a set {@link limitText}, each
 * {@link withPriority}.
 */
export type QosElements = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What the kernel holds. */
export interface ObservedQosTable {
  readonly definition: DefinitionLines;
  /** Of the maps and sets that are as ours. */
  readonly elements: QosElements;
}

export const noQosTable: ObservedQosTable = { definition: undefined, elements: new Map() };

export function isSameQosTable(one: ObservedQosTable, other: ObservedQosTable): boolean {
  return (
    one === other ||
    (isSameDefinition(one.definition, other.definition) && isSameMap(one.elements, other.elements, isSameMap))
  );
}

/** One transaction. */
export interface QosTransaction {
  /** Deletes the table if `isReplaced`, then makes it. Without `make` it is only deleted. */
  readonly definition: { readonly make: QosDefinition | undefined; readonly isReplaced: boolean } | undefined;
  /** Keys by map or set. */
  readonly remove: ReadonlyMap<string, readonly string[]>;
  readonly add: QosElements;
}

/** `limit rate over 125000 bytes/second burst 131072 bytes`. */
export function limitText({ rate, burst }: RateLimit): string {
  return `limit rate over ${rate} bytes/second burst ${burst} bytes`;
}

/** The inverse of {@link limitText}. */
export function parseLimitText(text: string): RateLimit {
  const [, rate = "0", burst = "0"] = /over (\d+) bytes\/second burst (\d+) bytes/.exec(text) ?? [];
  return { rate: Number(rate), burst: Number(burst) };
}

/** A value with the comment of its element: `1:a3f priority 5`. */
export function withPriority(value: string, priority: number | undefined): string {
  return priority === undefined ? value : `${value} ${priorityComment(priority)}`;
}

/** The inverse of {@link withPriority}. `comment`: the whole of it, if there is one. */
export function partsOfValue(text: string): {
  readonly value: string;
  readonly comment?: string;
  readonly priority?: number;
} {
  const [, value, comment, number] = /^(.*\S) (priority (\d+))$/.exec(text) ?? [];
  if (value === undefined || comment === undefined) return { value: text };
  return { value, comment, priority: Number(number) };
}

export function priorityComment(priority: number): string {
  return `priority ${priority}`;
}
