/** What an object that may not be as it is stands against, and what that is judged on. */
import type { Ipv4 } from "../model/ipv4.ts";
import type { ObjectId } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { Facts } from "./facts.ts";

export interface Clash {
  /** The elder object in the way; `gateway`: the gateway's own or default route's address; `subnet`: a reserved address. */
  readonly with: ObjectId | "gateway" | "subnet";
  readonly message: string;
}

/** The facts, with what the desired set says of the gateway itself. */
export interface ClashContext extends Facts {
  /** The default route's next hop; `undefined` where none is known. */
  readonly nextHop: Ipv4 | undefined;
}

export function clashContext(gateway: Gateway, facts: Facts): ClashContext {
  return { ...facts, nextHop: gateway.defaultGateway ?? facts.fallbackGateway };
}

export function ownAddressClash(address: Ipv4): Clash {
  return { with: "gateway", message: `${address} is the gateway's own address` };
}
