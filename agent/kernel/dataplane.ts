/** Opens the dataplane that the settings ask for. */
import { GatewayError } from "../../lib/model/errors.ts";
import type { Config } from "../config.ts";
import { createIptablesDataplane } from "./iptables/dataplane.ts";
import { chooseVariant } from "./iptables/variant.ts";
import type { Run } from "./run.ts";
import type { Dataplane } from "./seams.ts";

export async function openDataplane(
  run: Run,
  config: Pick<Config, "dataplane" | "iptablesVariant">,
): Promise<Dataplane> {
  if (config.dataplane === "nftables") {
    throw new GatewayError("bad-config", "NATGW_DATAPLANE: nftables is not there yet; allowed: iptables");
  }
  const choice = await chooseVariant(run, config.iptablesVariant, AbortSignal.timeout(30_000));
  if (choice.kind === "mixed") throw new GatewayError("mixed-variants", choice.message);
  return createIptablesDataplane({ run, variant: choice.variant });
}
