/** Lists the flows of an EIP. */

import { endsAt, hasEndOf } from "../../../lib/conntrack/ends.ts";
import type { GatewayConfig } from "../../../lib/model/gateway-config.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { ConntrackDriver } from "../../kernel/drivers.ts";

export interface ConnectionsDeps {
  readonly conntrack: Pick<ConntrackDriver, "find">;
  readonly config: Pick<GatewayConfig, "family">;
}

/** At most `limit` flows with one end at the EIP, and the number of all. */
export function connections(
  { conntrack, config }: ConnectionsDeps,
  eip: Ip,
  limit: number,
  signal: AbortSignal,
): ReturnType<ConntrackDriver["find"]> {
  const ends = endsAt(eip);
  return conntrack.find(hasEndOf(ends, config.family), limit, signal, ends);
}
