/** The list of subsystems. A new one needs a line here, and its name in lib/model/change.ts. */

import type { SubsystemName } from "../../../lib/model/change.ts";
import type { Clock } from "../../clock.ts";
import type {
  AccountingDriver,
  ApiGuardDriver,
  ConntrackDriver,
  Dataplane,
  NetfilterDriver,
  NetworkDriver,
  PreviousDataplane,
  QosDriver,
} from "../../kernel/drivers.ts";
import type { NextHopWatch } from "../next-hop-watch.ts";
import { quietRequest } from "../pass-request.ts";
import type { Subsystem } from "../subsystem.ts";
import { accountingSubsystem } from "./accounting.ts";
import { apiGuardSubsystem } from "./api-guard.ts";
import { FlowSubsystem } from "./flows.ts";
import { netfilterSubsystem } from "./netfilter.ts";
import { networkSubsystems } from "./network.ts";
import { PreviousDataplaneSubsystem } from "./previous-dataplane.ts";
import { qosSubsystem } from "./qos.ts";
import { rulesSubsystems } from "./rules.ts";
import { shareReading } from "./share-reading.ts";

export interface SubsystemDeps {
  readonly dataplane: Dataplane;
  /** The dataplanes that may have served before. Called after this dataplane was read for the first time. */
  readonly previousDataplanes: () => readonly PreviousDataplane[];
  readonly netfilter: NetfilterDriver;
  readonly network: NetworkDriver;
  readonly nextHops: Pick<NextHopWatch, "observe">;
  readonly conntrack: ConntrackDriver;
  readonly qos: QosDriver;
  readonly accounting: AccountingDriver;
  /** False: the traffic of EIPs is not counted. Absent: true. */
  readonly isAccounting?: boolean;
  readonly apiGuard: ApiGuardDriver;
  readonly clock: Clock;
}

/** In the order in which their obstacles are reported. The order of steps is that of the phases. */
export function createSubsystems({
  dataplane,
  previousDataplanes,
  netfilter,
  network,
  nextHops,
  conntrack,
  qos,
  accounting,
  isAccounting = true,
  apiGuard,
  clock,
}: SubsystemDeps) {
  const flows = new FlowSubsystem(conntrack, clock);
  const { rule, gate } = rulesSubsystems(dataplane);
  const readNetfilter = shareReading((signal) => netfilter.observe(signal));
  const { sysctl, address, route, reach } = networkSubsystems(network, nextHops);
  const byName = {
    api: apiGuardSubsystem(apiGuard),
    sysctl,
    address,
    route,
    netfilter: netfilterSubsystem(netfilter, readNetfilter),
    rule,
    gate,
    reach,
    flow: flows,
    qos: qosSubsystem(qos),
    accounting: accountingSubsystem(accounting, isAccounting),
    previous: new PreviousDataplaneSubsystem({
      async open(signal) {
        // The variant in use is known only after the first reading.
        await rule.observe(signal, quietRequest);
        return previousDataplanes();
      },
      leftovers: async (signal) => (await readNetfilter(signal)).leftovers ?? [],
    }),
  } satisfies { readonly [N in SubsystemName]: unknown };
  const subsystems: readonly Subsystem[] = Object.values(byName);
  return { subsystems, flows };
}
