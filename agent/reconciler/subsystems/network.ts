/** Applies what the planners of the network decided; what the kernel refuses is an answer, each step on its own. */

import type { Change } from "../../../lib/model/change.ts";
import { type AddressStep, describeAddressStep } from "../../../lib/plan/network/addresses.ts";
import { describeRouteStep, type RouteStep } from "../../../lib/plan/network/routes.ts";
import { describeSysctlStep, type SysctlStep } from "../../../lib/plan/network/sysctls.ts";
import type { NetworkDriver, StepFailure } from "../../kernel/drivers.ts";
import type { Refusal } from "../pass/failures.ts";

export class NetworkWriter {
  readonly #network: NetworkDriver;

  constructor(network: NetworkDriver) {
    this.#network = network;
  }

  async sysctls(steps: readonly SysctlStep[], signal: AbortSignal): Promise<readonly Refusal[]> {
    if (steps.length === 0) return [];
    return refusalsOf("sysctl", await this.#network.applySysctls(steps, signal), describeSysctlStep);
  }

  async addresses(steps: readonly AddressStep[], signal: AbortSignal): Promise<readonly Refusal[]> {
    if (steps.length === 0) return [];
    return refusalsOf("addresses", await this.#network.applyAddresses(steps, signal), describeAddressStep);
  }

  async routes(steps: readonly RouteStep[], signal: AbortSignal): Promise<readonly Refusal[]> {
    if (steps.length === 0) return [];
    return refusalsOf("routes", await this.#network.applyRoutes(steps, signal), describeRouteStep);
  }
}

function refusalsOf<Step extends object>(
  stage: Refusal["stage"],
  failures: readonly StepFailure<Step>[],
  describe: (step: Step) => Change,
): readonly Refusal[] {
  return failures.map(({ step, code, message }) => {
    const { object, text } = describe(step);
    return { ...(object !== undefined && { object }), stage, code, message, text };
  });
}
