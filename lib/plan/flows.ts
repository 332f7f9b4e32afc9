/** The flows subsystem: plans to end flows that contradict the program. */

import { type Chunked, everyNth, type MaybeChunked, runSync } from "../chunked.ts";
import type { Flow, FlowPredicate } from "../conntrack/flow.ts";
import { compileContradictsChunked } from "../conntrack/permits.ts";
import type { Ip } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import type { ObjectId } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import { translatingKinds } from "./gate/planner.ts";
import { withoutRemovedChunked } from "./network/addresses.ts";
import { boundByRouteChunked } from "./network/bindings.ts";
import type { KernelFacts, PlanInput } from "./plan-input.ts";
import { obstaclesOf, type SubsystemPlanner, subsystemPlan } from "./subsystem.ts";

/** What is known about flows without a sweep. A table of 200,000 entries is not read just to plan. */
export interface FlowsObserved {
  /** A sweep is due even if nothing else changes. */
  readonly isDue: boolean;
  /** Flows that contradict the program and could not be ended. */
  readonly remaining: readonly Flow[];
  /** The number of flows that come back after every removal and are left alone. */
  readonly shadowed: number;
  /** Objects whose flows could not be checked since the object changed, with the reason. */
  readonly unchecked: ReadonlyMap<ObjectId, string>;
}

export interface FlowSweepStep {
  /** The program that flows are compared with. A new value means that flows are checked again. */
  readonly program: Program;
  /** EIPs that are no longer desired but may still have flows. */
  readonly leaving: () => MaybeChunked<ReadonlySet<Ip>>;
  /** @param leaving EIPs of this step and of earlier ones whose flows are not all ended yet */
  readonly contradicts: (leaving: ReadonlySet<Ip>) => MaybeChunked<FlowPredicate>;
}

export const flowPlanner: SubsystemPlanner<FlowsObserved, FlowSweepStep> = {
  name: "flow",
  title: "flows",
  serves: translatingKinds,
  plan(input, { isDue, remaining, shadowed, unchecked }) {
    const { program } = input;
    const messages = new Map([...unchecked, ...contradicted(program, remaining)]);
    return subsystemPlan(
      // Rules come first: otherwise the old rules create the flows again.
      [{ phase: "flows", changes: [], payload: sweepStep(input), isDue, needs: ["rule"] }],
      () => obstaclesOf("Ready", "FlowsRemain", messages),
      {
        isUnfinished: remaining.length > 0,
        notices:
          shadowed === 0
            ? []
            : [
                {
                  reason: "FlowsShadowed",
                  message: `${shadowed} flows come back every time they are ended`,
                },
              ],
      },
    );
  },
  reads: ({ program, facts, ledger, own, addresses }) => [
    program,
    facts.network,
    facts.eipsNamedByRules,
    ledger,
    own,
    addresses,
  ],
};

function sweepStep({ program, facts, ledger, own, addresses }: PlanInput): FlowSweepStep {
  return {
    program,
    leaving: () => leavingEipsChunked(program, facts, ledger, own),
    *contradicts(leaving) {
      // While its address exists, flows to an EIP end on this host. Without the address they follow their route.
      const network =
        addresses.remove.length === 0
          ? facts.network
          : yield* withoutRemovedChunked(facts.network, addresses.remove);
      return yield* compileContradictsChunked({ program, retired: ledger.retired.union(leaving), network });
    },
  };
}

/** EIPs of ours that are not to be held: no longer desired, or unbound. */
export function leavingEips(...given: Parameters<typeof leavingEipsChunked>): ReadonlySet<Ip> {
  return runSync(leavingEipsChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** The same in parts. */
export function* leavingEipsChunked(
  program: Program,
  { network, eipsNamedByRules }: Pick<KernelFacts, "network" | "eipsNamedByRules">,
  ledger: Ledger,
  own: ReadonlySet<Ip>,
): Chunked<ReadonlySet<Ip>> {
  const staying = new Set(own);
  const isDue = everyNth(lookedAtOnce);
  for (const { address } of program.eips) {
    if (isDue()) yield;
    staying.add(address);
  }
  const leaving = new Set<Ip>();
  const note = (address: Ip) => {
    if (!staying.has(address)) leaving.add(address);
  };
  for (const address of eipsNamedByRules) {
    if (isDue()) yield;
    note(address);
  }
  for (const { address } of program.unboundEips ?? []) note(address);
  // The binding route shows that its EIP was ours, even if the ledger does not have it.
  for (const { address } of yield* boundByRouteChunked(network)) {
    if (isDue()) yield;
    note(address);
  }
  for (const { address } of ledger.addresses.values()) {
    if (isDue()) yield;
    note(address);
  }
  return leaving;
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
