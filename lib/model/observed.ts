/** What one pass read from the kernel's network stack, as values. Rules and flows have their own modules. */
import type { Cidr, Ip } from "./ip.ts";
import type { InterfaceName } from "./names.ts";

export interface ObservedLink {
  readonly index: number;
  readonly name: InterfaceName;
  /** `"aa:bb:cc:dd:ee:ff"`. Empty if the link has none. */
  readonly mac: string;
  /** IFF_UP: the administrative state. */
  readonly isUp: boolean;
  /** IFF_LOWER_UP: the carrier. */
  readonly hasCarrier: boolean;
  /** IFF_NOARP on a link with a hardware address: it neither sends nor answers ARP. Absent: false. */
  readonly isNoArp?: boolean;
  /** IFLA_MTU. Absent: unknown. */
  readonly mtu?: number;
  /** The index of the bridge, bond or VRF that receives its packets. Absent: none. */
  readonly masterIndex?: number;
  /** Of a macvlan in passthru mode: the index of its lower link, whose packets it receives. Absent: none. */
  readonly takesFrom?: number;
}

export interface ObservedAddress {
  readonly interface: InterfaceName;
  readonly address: Ip;
  readonly prefixLength: number;
  readonly isSecondary: boolean;
  /** IFA_LABEL. Empty if the kernel gave none. */
  readonly label: string;
}

export interface ObservedRoute {
  /** Table id: 254 main, 255 local. */
  readonly table: number;
  readonly type: "unicast" | "local" | "broadcast" | RefusingType | "throw" | "other";
  readonly destination: Cidr;
  readonly via: Ip | undefined;
  readonly interface: InterfaceName | undefined;
  /** The source address of the gateway's own packets. Only in routes to add. */
  readonly source?: Ip;
  /** The interfaces of the next hops, if there are several; then `via` and `interface` are `undefined`. */
  readonly hops?: readonly (InterfaceName | undefined)[];
  /** Their routers, in the same order. */
  readonly hopVias?: readonly (Ip | undefined)[];
  /** rtm_protocol: which program installed it. */
  readonly protocol: number;
  readonly metric: number;
  readonly isOnlink: boolean;
}

/** The types of routes that drop packets. */
export type RefusingType = "blackhole" | "unreachable" | "prohibit";

/** A policy routing rule: which packets use which table. */
export interface PolicyRule {
  /** Lower values come first. */
  readonly priority: number;
  readonly action:
    | { readonly kind: "lookup"; readonly table: number }
    | { readonly kind: "goto"; readonly priority: number }
    | { readonly kind: RefusingType | "none" };
  readonly source: Cidr | undefined;
  readonly destination: Cidr | undefined;
  /** Matches packets that come in by this interface. "lo": packets that the gateway itself sends. */
  readonly inInterface: string | undefined;
  /** Matches only sockets bound to this interface, never forwarded packets. */
  readonly outInterface: string | undefined;
  readonly isInverted: boolean;
  /** Routes with prefixes of this length or shorter are no answer. Absent: all are. */
  readonly suppressedPrefix?: number;
  /** The rule has conditions that are not represented here: a mark, ports, a type of service. */
  readonly hasMore: boolean;
  /** As `ip rule` prints it. */
  readonly text: string;
}

/** What decides the path of packets besides the main table. */
export interface ObservedPaths {
  /** In order of priority. */
  readonly rules: readonly PolicyRule[];
  /** The routes of the tables that the rules use, except main. Of local only those of other programs, if there are any. */
  readonly tables: ReadonlyMap<number, readonly ObservedRoute[]>;
}

/** A sysctl that the gateway needs. Its family names it (`FamilySysctls`). */
export type SysctlKey = `net.${string}`;

/** A setting of a device, by the name of the sysctl. */
export type DeviceSetting = "forwarding" | "rp_filter" | "arp_ignore" | "promote_secondaries";

export interface ObservedNetwork {
  readonly links: readonly ObservedLink[];
  readonly addresses: readonly ObservedAddress[];
  /** Those of the addresses whose route in the local table is missing: nobody gets an ARP answer for them. Absent: none. */
  readonly unrouted?: readonly ObservedAddress[];
  /** Those of the main table, and the agent's own in the local table. */
  readonly routes: readonly ObservedRoute[];
  /** Those of other programs in the local table. Absent: none. */
  readonly foreignLocal?: readonly ObservedRoute[];
  /** The value as read. `undefined` if it could not be read. */
  readonly sysctls: ReadonlyMap<SysctlKey, number | undefined>;
}
