/** Finds out what of the API is to be closed, and opens the driver that closes it. */
import type { ApiGuard } from "../../lib/model/api-guard.ts";
import type { Family } from "../../lib/model/family.ts";
import type { Gateway } from "../../lib/model/schema.ts";
import type { Counted } from "../../lib/nftables/definition-messages.ts";
import type { DropCounter } from "../../lib/nftables/filter-tables.ts";
import type { Endpoint } from "../config/values.ts";
import type { Config } from "../config.ts";
import { createApiGuardDriver } from "../kernel/api-guard/driver.ts";
import { ensureApiChains } from "../kernel/api-guard/filter-chains.ts";
import type { ApiGuardDriver, RulesDriver } from "../kernel/drivers.ts";
import type { ConversingConnection } from "../kernel/netlink/connection.ts";
import { readInterfaceAddresses } from "../kernel/network/interface-addresses.ts";
import type { Run } from "../kernel/run.ts";
import type { Log } from "../log.ts";
import { apiGuardOf, withPorts } from "./guarded-ports.ts";
import { refuseOutside } from "./listen-address.ts";

export interface OpenGuard {
  /** Where to listen: no port is 0. */
  readonly listen: readonly Endpoint[];
  readonly guard: ApiGuard;
  readonly driver: ApiGuardDriver;
  /** Refuses an external interface on which the API listens. @throws `conflict` */
  checkGateway(gateway: Gateway): Promise<void>;
  /** Puts it in place again, where no pass does. */
  keep(): void;
  /** Reads what the guard and `others` dropped. */
  withDropsOf(...others: readonly Pick<RulesDriver, "readDrops">[]): RulesDriver["readDrops"];
}

export async function openGuard({
  config,
  netlink,
  run,
  family,
  log,
}: {
  readonly config: Config;
  readonly netlink: ConversingConnection;
  readonly run: Run;
  readonly family: Family;
  readonly log: Log;
}): Promise<OpenGuard> {
  const listen = await withPorts(config.listen);
  const guard = apiGuardOf(listen, await readInterfaceAddresses(), config.externalInterface);
  const ensureChains = (signal: AbortSignal) => ensureApiChains(guard, family, run, signal);
  const driver = createApiGuardDriver({ netlink, guard, ensureChains });
  return {
    listen,
    guard,
    driver,
    withDropsOf:
      (...others) =>
      async (signal) => {
        const counts: (readonly [DropCounter, Counted])[] = [];
        for (const one of [...others, driver]) counts.push(...(await one.readDrops(signal)));
        return new Map(counts);
      },
    checkGateway: ({ externalInterface }) => refuseOutside(listen, externalInterface),
    keep: () => void driver.ensure().catch((err) => log.warn({ err }, "cannot keep the API's ports closed")),
  };
}
