/** What was read from the kernel's network stack in one pass, as values. Rules and flows have rooms of their own. */
import type { Cidr, Ipv4 } from "./ipv4.ts";
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
}

export interface ObservedAddress {
  readonly interface: InterfaceName;
  readonly address: Ipv4;
  readonly prefixLength: number;
  readonly isSecondary: boolean;
  /** IFA_LABEL, empty where the kernel gave none. */
  readonly label: string;
}

export interface ObservedRoute {
  /** Table id: 254 main, 255 local. */
  readonly table: number;
  readonly type: "unicast" | "local" | "broadcast" | "other";
  readonly destination: Cidr;
  readonly via: Ipv4 | undefined;
  readonly interface: InterfaceName | undefined;
  /** rtm_protocol: who installed it. */
  readonly protocol: number;
  readonly metric: number;
  readonly isOnlink: boolean;
}

/** A sysctl that the gateway depends on. */
export type SysctlKey =
  | "net.ipv4.ip_forward"
  | `net.ipv4.conf.${string}.forwarding`
  | `net.ipv4.conf.${string}.promote_secondaries`
  | `net.ipv4.conf.${string}.arp_ignore`;

export interface ObservedNetwork {
  readonly links: readonly ObservedLink[];
  readonly addresses: readonly ObservedAddress[];
  readonly routes: readonly ObservedRoute[];
  /** Value as read, `undefined` where it could not be read. */
  readonly sysctls: ReadonlyMap<SysctlKey, number | undefined>;
}
