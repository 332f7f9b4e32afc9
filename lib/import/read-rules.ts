/** What the rules of a dataplane say about objects, before addresses and routes are looked at. */
import type { Family } from "../model/family.ts";
import type { Cidr, Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { PoolMember } from "../model/program.ts";
import type { Backend, Protocol } from "../model/schema.ts";

/** A part of the kernel's state that no object stands for. */
export interface Unread {
  /** The rule, element or route as its tool prints it. */
  readonly what: string;
  /** The chain, map or table that holds it: `iptables-nft nat SHARED_DNAT`. */
  readonly where: string;
  /** Why it is not part of the set. */
  readonly why: string;
}

/** Something that was read, as its tool prints it, and where it was. */
export type Source = Pick<Unread, "what" | "where">;

/** One half of a FIP. */
export interface FipHalf {
  readonly eip: Ip;
  readonly internalIp: Ip;
  readonly source: Source;
}

export interface ReadDnat {
  readonly eip: Ip;
  readonly protocol: Protocol;
  readonly externalPort: number;
  readonly backends: readonly [Backend, ...Backend[]];
  /** True if it is certain that the object has a list of backends. */
  readonly isList: boolean;
  /** True if the client's address decides. */
  readonly isSticky?: boolean;
  readonly source: Source;
}

export type Member = Omit<PoolMember, "id">;

/** The SNATs of one CIDR with one outgoing interface, oldest first. */
export interface ReadPool {
  readonly cidr: Cidr;
  /** `undefined`: the rules do not say it; it is the interface of the EIPs. */
  readonly interface: InterfaceName | undefined;
  readonly members: readonly [Member, ...Member[]];
  readonly source: Source;
}

export interface ReadRules {
  /** In the kernel's order, like all lists here: of two with one EIP the first is in use. */
  readonly inward: readonly FipHalf[];
  readonly outward: readonly FipHalf[];
  readonly dnats: readonly ReadDnat[];
  readonly pools: readonly ReadPool[];
  /** EIPs with a hairpin rule. */
  readonly hairpins: ReadonlySet<Ip>;
  readonly unread: readonly Unread[];
  /** True if the agent served here before: its guard is there. */
  readonly isAgents: boolean;
}

/** What reading rules needs to know of the rest of the gateway. */
export interface ReadContext {
  readonly family: Family;
  /** The interface that holds the EIP, or would hold it. */
  readonly interfaceOf: (eip: Ip) => InterfaceName;
}

export const noRules: ReadRules = {
  inward: [],
  outward: [],
  dnats: [],
  pools: [],
  hairpins: new Set(),
  unread: [],
  isAgents: false,
};

/** The rules of several dataplanes, of which the first takes the packets. */
export function joinRules(all: readonly ReadRules[]): ReadRules {
  const [only] = all;
  if (all.length === 1 && only !== undefined) return only;
  return {
    inward: all.flatMap(({ inward }) => inward),
    outward: all.flatMap(({ outward }) => outward),
    dnats: all.flatMap(({ dnats }) => dnats),
    pools: all.flatMap(({ pools }) => pools),
    hairpins: new Set(all.flatMap(({ hairpins }) => [...hairpins])),
    unread: all.flatMap(({ unread }) => unread),
    isAgents: all.some(({ isAgents }) => isAgents),
  };
}
