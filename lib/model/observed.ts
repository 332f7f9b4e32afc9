/** What was read from the kernel's network stack in one pass, as values. Rules and flows have rooms of their own. */
import type { Cidr, Ip } from "./ip.ts";
import type { InterfaceName } from "./names.ts";

export interface ObservedLink {
  readonly index: number;
  readonly name: InterfaceName;
  /** `"aa:bb:cc:dd:ee:ff"`, empty where the link has none. */
  readonly mac: string;
  /** IFF_UP: the administrative state. */
  readonly isUp: boolean;
  /** IFF_LOWER_UP: the carrier. */
  readonly hasCarrier: boolean;
  /** IFF_NOARP on a link with a hardware address: it neither asks nor answers. Absent: no. */
  readonly isNoArp?: boolean;
  /** The index of the bridge, bond or VRF that takes its packets. Absent: none. */
  readonly masterIndex?: number;
}

export interface ObservedAddress {
  readonly interface: InterfaceName;
  readonly address: Ip;
  readonly prefixLength: number;
  readonly isSecondary: boolean;
  /** IFA_LABEL, empty where the kernel gave none. */
  readonly label: string;
}

export interface ObservedRoute {
  /** Table id: 254 main, 255 local. */
  readonly table: number;
  readonly type: "unicast" | "local" | "broadcast" | RefusingType | "throw" | "other";
  readonly destination: Cidr;
  readonly via: Ip | undefined;
  readonly interface: InterfaceName | undefined;
  /** The interfaces of several next hops, where there are several; then `via` and `interface` say nothing. */
  readonly hops?: readonly (InterfaceName | undefined)[];
  /** rtm_protocol: who installed it. */
  readonly protocol: number;
  readonly metric: number;
  readonly isOnlink: boolean;
}

/** What a route says of packets that it drops. */
export type RefusingType = "blackhole" | "unreachable" | "prohibit";

/** A rule of policy routing: which packets look up which table. */
export interface PolicyRule {
  /** The lower comes first. */
  readonly priority: number;
  readonly action:
    | { readonly kind: "lookup"; readonly table: number }
    | { readonly kind: "goto"; readonly priority: number }
    | { readonly kind: RefusingType | "none" };
  readonly source: Cidr | undefined;
  readonly destination: Cidr | undefined;
  /** Of packets that come in there; "lo" stands for those that the gateway itself sends. */
  readonly inInterface: string | undefined;
  /** Only for sockets that are bound to that interface: never for what is forwarded. */
  readonly outInterface: string | undefined;
  readonly isInverted: boolean;
  /** It asks for more than is said here: a mark, ports, a type of service. */
  readonly hasMore: boolean;
  /** As `ip rule` writes it. */
  readonly text: string;
}

/** How packets find their way besides the main table. */
export interface ObservedPaths {
  /** In their order. */
  readonly rules: readonly PolicyRule[];
  /** The routes of the tables that they name besides main and local. */
  readonly tables: ReadonlyMap<number, readonly ObservedRoute[]>;
}

/** A sysctl that the gateway depends on. Its family names it (`FamilySysctls`). */
export type SysctlKey = `net.${string}`;

/** A setting of a device, by the name that the sysctl has. */
export type DeviceSetting = "forwarding" | "rp_filter" | "arp_ignore" | "promote_secondaries";

export interface ObservedNetwork {
  readonly links: readonly ObservedLink[];
  readonly addresses: readonly ObservedAddress[];
  readonly routes: readonly ObservedRoute[];
  /** Value as read, `undefined` where it could not be read. */
  readonly sysctls: ReadonlyMap<SysctlKey, number | undefined>;
}
