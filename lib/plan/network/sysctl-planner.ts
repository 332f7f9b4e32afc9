/** The sysctls subsystem. */
import type { Degradation } from "../../model/degradation.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import { needsOfGate } from "../gate/needs.ts";
import { translatingKinds } from "../gate/planner.ts";
import { type Obstacle, type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";
import {
  arpIgnoring,
  describeSysctlStep,
  endingTimeouts,
  isArpIgnoredInVpc,
  isForwarding,
  planSysctls,
  type SysctlStep,
} from "./sysctls.ts";

export const sysctlPlanner: SubsystemPlanner<ObservedNetwork, SysctlStep> = {
  name: "sysctl",
  title: "sysctls",
  serves: translatingKinds,
  plan({ program, context, facts }, observed) {
    // Forwarding is enabled only behind the closed gate: otherwise packets leave before their rules exist.
    const needs = needsOfGate({ context, facts });
    const steps = planSysctls(program, observed).map((payload) => ({
      phase: "sysctls" as const,
      changes: [describeSysctlStep(payload)],
      payload,
      needs,
    }));
    const isOff = !isForwarding(program, observed);
    return subsystemPlan(
      steps,
      () => ({
        objects: new Map(),
        kinds: new Map(isOff ? translatingKinds.map((kind) => [kind, forwardingOff(program)]) : []),
      }),
      { notices: notices(program, observed, isOff) },
    );
  },
  withNetwork: (_, network) => network,
  reads: ({ program, context, facts }) => [program, context.gate, facts.isGateClosed],
};

function notices(program: Program, observed: ObservedNetwork, isOff: boolean): readonly Degradation[] {
  const ignoring = arpIgnoring(program, observed);
  const isArpIgnored = isArpIgnoredInVpc(program, observed);
  const ending = endingTimeouts(program, observed);
  return [
    ...(isOff
      ? [
          {
            reason: "ForwardingOff" as const,
            message: `packets are not forwarded, and ${program.family.sysctls.forwarding} cannot be set`,
          },
        ]
      : []),
    ...(ignoring.length > 0 || isArpIgnored
      ? [{ reason: "ArpIgnored" as const, message: arpText(program, ignoring, isArpIgnored) }]
      : []),
    ...(ending.length > 0
      ? [
          {
            reason: "FlowTimeoutZero" as const,
            message: `${ending.map((key) => `${key}=0`).join()} ends flows before their next packet`,
          },
        ]
      : []),
  ];
}

function arpText(
  { vpcInterface }: Program,
  ignoring: readonly InterfaceName[],
  isArpIgnored: boolean,
): string {
  return [
    ...(ignoring.length > 0
      ? [`arp_ignore stops ${ignoring.join()} from answering ARP for some addresses`]
      : []),
    ...(isArpIgnored ? [`arp_ignore=8 stops ${vpcInterface} from answering ARP`] : []),
  ].join("; ");
}

function forwardingOff({ family }: Program): Obstacle {
  const message = `${family.sysctls.forwarding} is 0 and cannot be set`;
  return { condition: "Ready", reason: "ForwardingOff", message };
}
