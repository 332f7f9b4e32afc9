/** Plans the ending of flows that contradict the program, as a subsystem. */

import type { Flow, FlowPredicate } from "../conntrack/flow.ts";
import { compileContradicts } from "../conntrack/permits.ts";
import type { Ip } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import type { ObjectId } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import { translatingKinds } from "./gate/planner.ts";
import { withoutRemoved } from "./network/addresses.ts";
import { boundByRoute } from "./network/bindings.ts";
import type { KernelFacts, PlanInput } from "./plan-input.ts";
import { obstaclesOf, type SubsystemPlanner, subsystemPlan } from "./subsystem.ts";

/** What is known of the flows without looking through them: a table of 200,000 is not read to make a plan. */
export interface FlowsObserved {
  /** They are to be looked through though nothing else changes. */
  readonly isDue: boolean;
  /** Flows that contradict the program and could not be ended. */
  readonly remaining: readonly Flow[];
  /** Flows that come back as often as they are ended, and are left alone. */
  readonly shadowed: number;
  /** Objects whose flows could not be looked at since they were changed, with why. */
  readonly unswept: ReadonlyMap<ObjectId, string>;
}

export interface FlowSweepStep {
  /** What the flows are held against; another value means that they are judged anew. */
  readonly program: Program;
  /** EIPs on their way out: nobody asks for them, and their flows may still live. */
  readonly leaving: () => ReadonlySet<Ip>;
  /** @param leaving those of this and of earlier steps whose flows were not all ended yet */
  readonly contradicts: (leaving: ReadonlySet<Ip>) => FlowPredicate;
}

export const flowPlanner: SubsystemPlanner<FlowsObserved, FlowSweepStep> = {
  name: "flow",
  serves: translatingKinds,
  plan(input, { isDue, remaining, shadowed, unswept }) {
    const { program } = input;
    const words = new Map([...unswept, ...contradicted(program, remaining)]);
    return subsystemPlan(
      // The rules come first, or the old ones would make the flows anew.
      [{ phase: "flows", changes: [], payload: sweepStep(input), isDue, needs: ["rule"] }],
      () => obstaclesOf("Ready", "FlowsRemain", words),
      {
        isUnfinished: remaining.length > 0,
        notices:
          shadowed === 0
            ? []
            : [
                {
                  reason: "FlowsShadowed",
                  message: `${shadowed} flows come back as often as they are ended`,
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
    leaving: () => leavingEips(program, facts, ledger, own),
    contradicts: (leaving) => {
      // A table without a flow, as that of a new gateway, needs no predicate: compiled when it is first asked.
      let compiled: FlowPredicate | undefined;
      return (flow) => {
        compiled ??= compileContradicts({
          program,
          retired: ledger.retired.union(leaving),
          // Flows to an EIP end here while its address stands; without it they go where their route leads.
          network: withoutRemoved(facts.network, addresses.remove),
        });
        return compiled(flow);
      };
    },
  };
}

/** EIPs of ours that are not to be held: nobody asks for them any more, or they are unbound. */
export function leavingEips(
  program: Program,
  { network, eipsNamedByRules }: Pick<KernelFacts, "network" | "eipsNamedByRules">,
  ledger: Ledger,
  own: ReadonlySet<Ip>,
): ReadonlySet<Ip> {
  const staying = new Set(own);
  for (const { address } of program.eips) staying.add(address);
  const leaving = new Set<Ip>();
  const note = (address: Ip) => {
    if (!staying.has(address)) leaving.add(address);
  };
  for (const address of eipsNamedByRules) note(address);
  for (const { address } of program.unboundEips ?? []) note(address);
  // A route says by itself that its EIP was ours, whether or not the ledger knows.
  for (const { address } of boundByRoute(network)) note(address);
  for (const { address } of ledger.addresses.values()) note(address);
  return leaving;
}

/** Names the objects whose EIP or internal IP a remaining flow has. */
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
