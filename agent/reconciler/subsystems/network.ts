/** Sysctls, addresses, routes and reach: subsystems over one reading of the network. */
import { memoizeLast } from "../../../lib/memoize.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { ObservedNetwork, ObservedPaths } from "../../../lib/model/observed.ts";
import { addressPlanner } from "../../../lib/plan/network/address-planner.ts";
import { describeAddressStep } from "../../../lib/plan/network/addresses.ts";
import { routePlanner } from "../../../lib/plan/network/route-planner.ts";
import { describeRouteStep } from "../../../lib/plan/network/routes.ts";
import { sysctlPlanner } from "../../../lib/plan/network/sysctl-planner.ts";
import { describeSysctlStep } from "../../../lib/plan/network/sysctls.ts";
import { resolvingLinks, type SilentHop, watchedHopsOf } from "../../../lib/plan/reach/next-hops.ts";
import { createReachPlanner, type ReachObserved } from "../../../lib/plan/reach/planner.ts";
import type { SubsystemPlanner } from "../../../lib/plan/subsystem.ts";
import type { DriverFailure, NetworkDriver } from "../../kernel/drivers.ts";
import type { NextHopWatch } from "../next-hop-watch.ts";
import { isPass } from "../pass-request.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";
import { shareReading } from "./share-reading.ts";

export function networkSubsystems(driver: NetworkDriver, nextHops: Pick<NextHopWatch, "observe">) {
  const observe = shareReading((signal) => driver.observe(signal));
  return {
    sysctl: networkSubsystem(observe, sysctlPlanner, describeSysctlStep, (steps, signal) =>
      driver.applySysctls(steps, signal),
    ),
    address: networkSubsystem(observe, addressPlanner, describeAddressStep, (steps, signal) =>
      driver.applyAddresses(steps, signal),
    ),
    route: networkSubsystem(observe, routePlanner, describeRouteStep, (steps, signal) =>
      driver.applyRoutes(steps, signal),
    ),
    reach: reachSubsystem(driver, nextHops, observe),
  };
}

function reachSubsystem(
  driver: NetworkDriver,
  nextHops: Pick<NextHopWatch, "observe">,
  observe: (signal: AbortSignal) => Promise<ObservedNetwork>,
): Subsystem<ReachObserved, never> {
  const join = memoizeLast(
    (network: ObservedNetwork, paths: ObservedPaths, silentHops: readonly SilentHop[]) => ({
      network,
      paths,
      silentHops,
    }),
  );
  return {
    planner: createReachPlanner(),
    async observe(signal, request) {
      const network = await observe(signal);
      const paths = await driver.observePaths(network, signal);
      return join(
        network,
        paths,
        await nextHops.observe(watchedHopsOf(network, paths), resolvingLinks(network), isPass(request)),
      );
    },
    apply: async () => [],
  };
}

function networkSubsystem<Payload>(
  observe: (signal: AbortSignal) => Promise<ObservedNetwork>,
  planner: SubsystemPlanner<ObservedNetwork, Payload>,
  describe: (step: Payload) => Change,
  apply: (steps: readonly Payload[], signal: AbortSignal) => Promise<readonly DriverFailure<Payload>[]>,
): Subsystem<ObservedNetwork, Payload> {
  return {
    planner,
    observe,
    facts: (network) => ({ network }),
    async apply(steps, _context, signal) {
      const failures = await apply(
        steps.map(({ payload }) => payload),
        signal,
      );
      return failures.map(({ step, code, message }): StepFailure => {
        const { object, text } = describe(step);
        return { ...(object !== undefined && { object }), code, message, text };
      });
    },
  };
}
