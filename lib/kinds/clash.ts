/** What an object that may not be as it is stands against, and what that is judged on. */
import { familyOf } from "../model/families.ts";
import type { AddressValue } from "../model/family.ts";
import { type Ip, prefixLengthOf } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { ConnectedSubnet, Facts } from "./facts.ts";

export interface Clash {
  /**
   * The elder object in the way; `gateway`: the gateway's own address or the default route's; `subnet`: a reserved address,
   * or another interface's subnet.
   */
  readonly with: ObjectId | "gateway" | "subnet";
  readonly message: string;
}

/** The facts, with what the desired set says of the gateway itself. */
export interface ClashContext extends Facts {
  /** The default route's next hop; `undefined` where none is known. */
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
