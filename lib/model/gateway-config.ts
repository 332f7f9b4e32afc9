/** The gateway's configuration from the settings. Of the desired set only the names of interfaces are in it. */
import type { ApiGuard } from "./api-guard.ts";
import type { Family } from "./family.ts";
import type { Ip } from "./ip.ts";
import type { InterfaceName } from "./names.ts";

/** How an EIP is bound to its interface: by an address, or by a local route. */
export type Binding = "address" | "route";

export interface GatewayConfig {
  /** The address family that it translates. */
  readonly family: Family;
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** `GATEWAY_V4`: the default gateway, used if the desired set gives none. */
  readonly fallbackGateway: Ip | undefined;
  readonly eipBinding: Binding;
  /** What becomes of packets from the VPC to the outside that nothing translates, once the gateway is verified. */
  readonly untranslated: "forward" | "drop";
  /** True: no BFD with the VPC until the gateway translates. */
  readonly isBfdGated: boolean;
  /** Absent: the API does not listen by TCP. */
  readonly apiGuard?: ApiGuard;
}
