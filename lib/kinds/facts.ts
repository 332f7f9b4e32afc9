/** Facts about this gateway outside of the desired set. They decide which objects can be accepted. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { familyOf } from "../model/families.ts";
import type { Cidr, Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";

export interface Facts {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** The gateway's own addresses as last observed. No EIP and no internal IP may be one of them. */
  readonly ownAddresses: ReadonlySet<Ip>;
  /** The default gateway, used if the desired set gives none. */
  readonly fallbackGateway?: Ip | undefined;
  /** The subnets of these addresses. `undefined` before the first reading. */
  readonly connectedSubnets: readonly ConnectedSubnet[] | undefined;
  /** Configured interfaces that do not exist: nothing on them can divert packets from another interface. Absent: not known. */
  readonly missingInterfaces?: ReadonlySet<InterfaceName>;
}

/** A subnet that the kernel reaches directly because the gateway has an address of its own in it. */
export interface ConnectedSubnet {
  readonly interface: InterfaceName;
  readonly cidr: Cidr;
}

/**
 * The subnets of the gateway's own addresses. EIPs are left out: otherwise the order of writes decides which of two
 * EIPs takes a subnet from the other. A network of one host (/32) connects no subnet.
 */
export function connectedSubnets(
  ...given: Parameters<typeof connectedSubnetsChunked>
): readonly ConnectedSubnet[] {
  return runSync(connectedSubnetsChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

/** The same in parts. */
export function* connectedSubnetsChunked(
  { addresses }: ObservedNetwork,
  own: ReadonlySet<Ip>,
): Chunked<readonly ConnectedSubnet[]> {
  const isDue = everyNth(lookedAtOnce);
  const subnets = new Map<string, ConnectedSubnet>();
  for (const { interface: name, address, prefixLength } of addresses) {
    if (isDue()) yield;
    if (!own.has(address)) continue;
    const family = familyOf(address);
    if (prefixLength === family.bits) continue;
    const cidr = family.makeCidr(address, prefixLength);
    subnets.set(`${name} ${cidr}`, { interface: name, cidr });
  }
  return [...subnets.values()];
}

/** Whether both lists have the same subnets in the same order. */
export function isSameSubnets(one: readonly ConnectedSubnet[], other: readonly ConnectedSubnet[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ interface: name, cidr }, index) => {
      const match = other[index];
      return match?.interface === name && match.cidr === cidr;
    })
  );
}
