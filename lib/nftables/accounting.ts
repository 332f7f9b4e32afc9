/**
 * The table that counts the traffic of EIPs, beside every dataplane. In nft's words, for a gateway whose EIPs are on one
 * interface:
 *
 *     table ip natgw_acct
 *       set eips    { type ipv4_addr; 203.0.113.10 }
 *       set in      { type ipv4_addr; flags dynamic; counter; 203.0.113.10 counter packets 12 bytes 9000 }
 *       set in_gso, in_push, out, out_gso, out_push: the same
 *       set full    { typeof meta length; flags constant; 2936, 2948, 4396, 4420, … }
 *       chain prerouting { type filter hook prerouting priority -300;
 *         iifname "net1" ip daddr @eips update @in { ip daddr } meta length > 1500 update @in_gso { ip daddr } \
 *           meta l4proto tcp tcp flags & psh != 0 meta length != @full update @in_push { ip daddr }
 *       }
 *       chain postrouting { type filter hook postrouting priority 310;
 *         the same with oifname, ip saddr and out
 *       }
 *
 * A packet costs two lookups by hash, however many EIPs there are. The kernel makes a counter with the first packet of its EIP,
 * so an EIP is one element to write, and only EIPs with traffic are read. `eips` keeps the senders of packets from
 * filling the sets.
 *
 * The rules see packets before NAT on their way in, and after everything that may drop them on their way out. A packet
 * longer than the MTU stands for several on the wire (GSO, GRO): it is counted a second time, and a third time if the last
 * of them may be short, so that segments.ts can tell how many.
 */
import type { Chunked } from "../chunked.ts";
import { isSameSetChunked } from "../memoize.ts";
import type { InterfaceName } from "../model/names.ts";
import { type DefinitionLines, isSameDefinition } from "./definition-lines.ts";
import type { Counted } from "./definition-messages.ts";
import { field } from "./fields.ts";
import type { ElementMap } from "./maps.ts";

export const accountingTable = "natgw_acct";

/** The set of all EIPs. */
export const eipSet = "eips";

/** The set of the lengths that full segments have together. */
export const fullSet = "full";

/**
 * The sets of counters: all packets to or from an EIP, the large ones, and those of TCP among these that end in a short
 * segment.
 */
export const counterSets = ["in", "in_gso", "in_push", "out", "out_gso", "out_push"] as const;
export type CounterSet = (typeof counterSets)[number];

/** The elements of {@link eipSet} and of these sets. */
export const addressSet: ElementMap = { key: [field.address], value: [], isInterval: false };

/** The elements of {@link fullSet}. */
export const lengthSet: ElementMap = { key: [field.length], value: [], isInterval: false };

/** An interface where packets are counted. */
export interface AccountedInterface {
  readonly name: InterfaceName;
  /** Longer packets stand for several. */
  readonly mtu: number;
}

/** The table without elements. */
export type AccountingDefinition = readonly AccountedInterface[];

/** What an EIP's counters hold. A counter that is absent counted nothing. */
export type RawTraffic = { readonly [K in CounterSet]?: Counted };

/** The counters by EIP. */
export type RawCounts = ReadonlyMap<string, RawTraffic>;

/** What the kernel holds. */
export interface ObservedAccounting {
  readonly definition: DefinitionLines;
  /** The elements of {@link eipSet}. Empty if the definition is another one. */
  readonly eips: ReadonlySet<string>;
  /** EIPs that have counters but are no elements of {@link eipSet}. */
  readonly strays: ReadonlySet<string>;
}

export const noAccounting: ObservedAccounting = { definition: undefined, eips: new Set(), strays: new Set() };

export function* isSameAccountingChunked(
  one: ObservedAccounting,
  other: ObservedAccounting,
): Chunked<boolean> {
  if (one === other) return true;
  if (!isSameDefinition(one.definition, other.definition)) return false;
  return (
    (yield* isSameSetChunked(one.eips, other.eips)) && (yield* isSameSetChunked(one.strays, other.strays))
  );
}

/** One transaction. Removing an EIP removes its counters. */
export interface AccountingTransaction {
  /** Deletes the table if `isReplaced`, then makes it. Without `make` it is only deleted. */
  readonly definition:
    | { readonly make: AccountingDefinition | undefined; readonly isReplaced: boolean }
    | undefined;
  readonly add: readonly string[];
  readonly remove: readonly string[];
  /** EIPs that only have counters. */
  readonly strays: readonly string[];
}
