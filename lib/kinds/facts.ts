/** What is known of this gateway beyond the desired set: the part of it that decides what can be accepted. */
import type { Ipv4 } from "../model/ipv4.ts";
import type { InterfaceName } from "../model/names.ts";

export interface Facts {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** The gateway's own addresses as last observed: no EIP and no internal IP may be one of them. */
  readonly ownAddresses: ReadonlySet<Ipv4>;
  /** The default gateway where the desired set gives none. */
  readonly fallbackGateway?: Ipv4 | undefined;
}
