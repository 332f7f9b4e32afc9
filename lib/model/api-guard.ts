/** Which packets may reach the API by TCP. What comes over loopback always may. */
import type { InterfaceName } from "./names.ts";

/** An address on which the API listens, and the interface that had it when the agent started. */
export interface OpenEndpoint {
  readonly interface: InterfaceName;
  /** Of either family, without a zone. */
  readonly address: string;
  readonly port: number;
}

export interface ApiGuard {
  /** The ports of all listeners. To everything else on them packets are dropped. */
  readonly ports: readonly number[];
  /** Reachable only through their own interface, and not by DNAT. */
  readonly open: readonly OpenEndpoint[];
}
