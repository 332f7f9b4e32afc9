/** Clashes: what an object conflicts with, and the data that decides it. */
import { familyOf } from "../model/families.ts";
import type { AddressValue } from "../model/family.ts";
import { type Ip, prefixLengthOf } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { ConnectedSubnet, Facts } from "./facts.ts";

export interface Clash {
  /**
   * What it clashes with: the older object; `gateway`: the address of the gateway itself or of the default route's next
   * hop; `subnet`: a reserved address, or the subnet of another interface.
   */
  readonly with: ObjectId | "gateway" | "subnet";
  readonly message: string;
}

/** The facts, and what the desired set says about the gateway itself. */
export interface ClashContext extends Facts {
  /** The next hop of the default route. `undefined` if unknown. */
  readonly nextHop: Ip | undefined;
  readonly subnets: readonly SubnetRange[];
}

/** A connected subnet with its first and last address. */
export interface SubnetRange extends ConnectedSubnet {
  readonly prefixLength: number;
  readonly first: AddressValue;
  readonly last: AddressValue;
}

export function clashContext(gateway: Gateway, facts: Facts): ClashContext {
  const subnets = (facts.connectedSubnets ?? []).map((subnet): SubnetRange => {
    const [first, last] = familyOf(subnet.cidr).rangeOf(subnet.cidr);
    return { ...subnet, prefixLength: prefixLengthOf(subnet.cidr), first, last };
  });
  return { ...facts, nextHop: gateway.defaultGateway ?? facts.fallbackGateway, subnets };
}

export function ownAddressClash(address: Ip): Clash {
  return { with: "gateway", message: `${address} is the gateway's own address` };
}
