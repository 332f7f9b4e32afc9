/** What the gateway is, whatever is desired: from the settings. */
import type { Family } from "./family.ts";
import type { Ip } from "./ip.ts";
import type { InterfaceName } from "./names.ts";

/** How an EIP is bound to its interface: by an address there, or by a local route of its own. */
export type Binding = "address" | "route";

export interface GatewayConfig {
  /** What it translates. */
  readonly family: Family;
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** `GATEWAY_V4`: the default gateway where the desired set gives none. */
  readonly fallbackGateway: Ip | undefined;
  readonly eipBinding: Binding;
}
