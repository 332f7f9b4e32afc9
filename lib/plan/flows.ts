/** The flows subsystem: plans to end flows that contradict the program. */

import type { Chunked } from "../chunked.ts";
import type { Flow, FlowPredicate } from "../conntrack/flow.ts";
import { compileContradictsChunked } from "../conntrack/permits.ts";
import type { Degradation } from "../model/degradation.ts";
import type { Ip } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import { counted } from "../text/quantities.ts";
import type { AddressStep } from "./address-plan.ts";
import { translatingKinds } from "./gate/planner.ts";
import { withoutRemovedChunked } from "./network/addresses.ts";
import type { PlanInput } from "./plan-input.ts";
import { obstaclesOf, type SubsystemPlanner, subsystemPlan } from "./subsystem.ts";

/** What is known about flows without a sweep. A table of 200,000 entries is not read just to plan. */
export interface FlowsObserved {
  /** A sweep is due even if nothing else changes. */
  readonly isDue: boolean;
  /** Flows that contradict the program and could not be ended. */
  readonly remaining: readonly Flow[];
  /** The number of flows that come back after every removal and are left alone. */
  readonly shadowed: number;
  /** The number of entries that the table may have, if there is no room for another flow. */
  readonly fullAt?: number;
  /** Objects whose flows could not be checked since the object changed, with the reason. */
  readonly unchecked: ReadonlyMap<ObjectId, string>;
}

export interface FlowSweepStep {
  /** The program that flows are compared with. A new value means that flows are checked again. */
  readonly program: Program;
  readonly network: ObservedNetwork;
  /** Addresses that are removed before the sweep. */
  readonly removed: readonly AddressStep[];
  /** Former EIPs that may still have flows. */
  readonly retired: ReadonlySet<Ip>;
  /** EIPs that are no longer desired but may still have flows. */
  readonly leaving: ReadonlySet<Ip>;
}

export const flowPlanner: SubsystemPlanner<FlowsObserved, FlowSweepStep> = {
  name: "flow",
  title: "flows",
  serves: translatingKinds,
  plan(input, { isDue, remaining, shadowed, fullAt, unchecked }) {
    const { program } = input;
    const messages = new Map([...unchecked, ...contradicted(program, remaining)]);
    return subsystemPlan(
      // Rules come first: otherwise the old rules create the flows again.
      [{ phase: "flows", changes: [], payload: sweepStep(input), isDue, needs: ["rule"] }],
      () => obstaclesOf("Ready", "FlowsRemain", messages),
      {
        isUnfinished: remaining.length > 0,
        notices: notices(shadowed, fullAt),
      },
    );
  },
  reads: ({ program, facts, ledger, leaving, addresses }) => [
    program,
    facts.network,
    ledger,
    leaving,
    addresses,
  ],
};

function notices(shadowed: number, fullAt: number | undefined): readonly Degradation[] {
  const list: Degradation[] = [];
  if (shadowed > 0)
    list.push({
      reason: "FlowsShadowed",
      message: `${counted(shadowed, "flow comes", "flows come")} back after every removal`,
    });
  if (fullAt !== undefined)
    list.push({
      reason: "FlowTableFull",
      message: `all of ${fullAt} entries of the conntrack table are in use: new flows are dropped`,
    });
  return list;
}

function sweepStep({ program, facts, ledger, leaving, addresses }: PlanInput): FlowSweepStep {
  return { program, network: facts.network, removed: addresses.remove, retired: ledger.retired, leaving };
}

/**
 * Compiles which flows a sweep ends, in parts.
 *
 * @param removed addresses that are removed before the sweep: flows to them follow their route instead of ending here
 * @param retired EIPs that are no longer held and may still have flows
 */
export function* contradictsChunked(
  program: Program,
  network: ObservedNetwork,
  removed: readonly AddressStep[],
  retired: ReadonlySet<Ip>,
): Chunked<FlowPredicate> {
  const left = removed.length === 0 ? network : yield* withoutRemovedChunked(network, removed);
  return yield* compileContradictsChunked({ program, retired, network: left });
}

/** Names the objects whose EIP or internal IP is in a remaining flow. */
function contradicted(program: Program, flows: readonly Flow[]): ReadonlyMap<ObjectId, string> {
  const named = new Map<ObjectId, string>();
  if (flows.length === 0) return named;
  const counts = new Map<Ip, number>();
  for (const { original, reply } of flows) {
    for (const ip of new Set([original.source, original.destination, reply.source, reply.destination])) {
      counts.set(ip, (counts.get(ip) ?? 0) + 1);
    }
  }
  const name = (id: ObjectId, ...ips: readonly Ip[]) => {
    const count = Math.max(...ips.map((ip) => counts.get(ip) ?? 0));
    if (count > 0) named.set(id, `${count} live flows contradict it and could not be ended`);
  };
  for (const { id, eip, internalIp } of program.fips) name(id, eip, internalIp);
  for (const { id, eip, backends } of program.dnats) name(id, eip, ...backends.map(({ ip }) => ip));
  for (const { members } of program.pools) for (const { id, eip } of members) name(id, eip);
  return named;
}
