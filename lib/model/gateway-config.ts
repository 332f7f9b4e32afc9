/** What the gateway is, whatever is desired: from the settings. */
import type { Ipv4 } from "./ipv4.ts";
import type { InterfaceName } from "./names.ts";

/** How an EIP is bound to its interface: by an address there, or by a local route of its own. */
export type Binding = "address" | "route";

export interface GatewayConfig {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** `GATEWAY_V4`: the default gateway where the desired set gives none. */
  readonly fallbackGateway: Ipv4 | undefined;
  readonly eipBinding: Binding;
}
