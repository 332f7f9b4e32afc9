/**
 * Drivers and planners together, as a pass uses them: rules and gate in one plan, written again if another writer was
 * faster.
 */

import type { Dataplane, RulesDriver } from "../../agent/kernel/drivers.ts";
import { createIptablesDriver, type IptablesDriverOptions } from "../../agent/kernel/iptables/driver.ts";
import {
  createNftablesDriver,
  type NftablesDriver,
  type NftablesDriverOptions,
} from "../../agent/kernel/nftables/driver.ts";
import { writeRules } from "../../agent/reconciler/subsystems/write-rules.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";
import type { Program } from "../../lib/model/program.ts";
import type { GateState } from "../../lib/plan/gate-state.ts";
import { createIptablesPlanner } from "../../lib/plan/iptables/planner.ts";
import { createNftablesPlanner } from "../../lib/plan/nftables/planner.ts";
import type { RulesPlan, RulesPlanner } from "../../lib/plan/rules-planner.ts";
import { planWithGate } from "./with-gate.ts";

export function iptablesRules(options: Omit<IptablesDriverOptions, "family">) {
  return new Rules(createIptablesDriver({ ...options, family: ipv4 }), createIptablesPlanner(ipv4));
}

export function nftablesRules(options: NftablesDriverOptions) {
  const driver: NftablesDriver = createNftablesDriver(options);
  return new Rules(driver, createNftablesPlanner(ipv4));
}

export class Rules<Observed, Payload, Driver extends RulesDriver<Observed, Payload>>
  implements Dataplane<Observed, Payload>
{
  readonly driver: Driver;
  readonly planner: RulesPlanner<Observed, Payload>;
  readonly #replans = new WeakMap<RulesPlan<Payload>, (observed: Observed) => RulesPlan<Payload>>();

  constructor(driver: Driver, planner: RulesPlanner<Observed, Payload>) {
    this.driver = driver;
    this.planner = planner;
  }

  observe(signal: AbortSignal): Promise<Observed> {
    return this.driver.observe(signal);
  }

  plan(program: Program, observed: Observed, gate: GateState): RulesPlan<Payload> {
    const replan = (seen: Observed) => planWithGate(this.planner, program, seen, gate);
    const plan = replan(observed);
    this.#replans.set(plan, replan);
    return plan;
  }

  /** A plan that does not come from {@link plan} is written once. */
  apply(plan: RulesPlan<Payload>, signal: AbortSignal): Promise<void> {
    const replan = this.#replans.get(plan);
    const again = replan && (async () => replan(await this.observe(signal)).payload);
    return writeRules(this, plan.payload, again, signal);
  }
}
