/** The addresses subsystem. addresses.ts decides what is to be held, because the ledger needs that too. */

import { type Chunked, everyNth, runSync } from "../../chunked.ts";
import type { Degradation } from "../../model/degradation.ts";
import { ledgerIndex } from "../../model/ledger-index.ts";
import type { ObjectId } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Reason } from "../../model/status.ts";
import type { AddressStep } from "../address-plan.ts";
import type { PlanInput } from "../plan-input.ts";
import {
  type Obstacle,
  type Obstacles,
  type Step,
  type StepNeed,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "../subsystem.ts";
import { describeAddressStep } from "./addresses.ts";

export const addressPlanner: SubsystemPlanner<ObservedNetwork, AddressStep> = {
  name: "address",
  title: "addresses",
  serves: ["eip"],
  plan: (input) => runSync(planChunked(input)),
  planChunked,
  withNetwork: (_, network) => network,
  reads: ({ program, addresses, ledger, facts, context }) => [
    program,
    addresses,
    ledger,
    facts.eipsNamedByRules,
    context.config,
    context.heldConflicts,
  ],
};

function* planChunked(input: PlanInput): Chunked<SubsystemPlan<AddressStep>> {
  const steps = yield* stepsOf(input);
  return subsystemPlan(steps, () => obstacles(input), { notices: addressNotices(input) });
}

/** Takes a few milliseconds. */
const plannedAtOnce = 3_000;

/**
 * An address is added after its rules, otherwise the gateway's own stack resets live connections. If the rules cannot
 * be read now but were present at the last reading, a missing address is added again. An address is removed only after
 * its rules.
 *
 * An address that the ledger lacks waits until the ledger is written: without an entry nobody knows later whose it is. An
 * address that the ledger has is added again even while the disk is full. A local route shows by itself whose it is.
 */
function* stepsOf({ addresses, facts, ledger }: PlanInput): Chunked<readonly Step<AddressStep>[]> {
  const { add, remove } = addresses;
  const known = yield* ledgerIndex(ledger);
  const steps: Step<AddressStep>[] = [];
  const isDue = everyNth(plannedAtOnce);
  for (const payload of add) {
    if (isDue()) yield;
    const { binding, entry } = payload;
    const step = { phase: "addresses", changes: [describeAddressStep(payload)], payload } as const;
    const needs: StepNeed[] = facts.eipsNamedByRules.has(entry.address) ? [] : ["rule"];
    if (binding === "address" && !known.has(entry)) needs.push("ledger");
    steps.push(needs.length === 0 ? step : { ...step, needs });
  }
  for (const payload of remove) {
    if (isDue()) yield;
    steps.push({ phase: "removals", changes: [describeAddressStep(payload)], payload, needs: ["rule"] });
  }
  return steps;
}

function* obstacles({ program, addresses, context }: PlanInput): Chunked<Obstacles> {
  const isDue = everyNth(plannedAtOnce);
  const objects = new Map<ObjectId, Obstacle>();
  for (const { id, address } of context.heldConflicts.size === 0 ? [] : program.eips) {
    if (isDue()) yield;
    const mac = context.heldConflicts.get(address);
    if (mac === undefined) continue;
    const message = `${mac} also answers ARP for ${address}`;
    objects.set(id, { condition: "Ready", reason: "AddressConflict", message, isSettled: true });
  }
  const lacks = (object: ObjectId | undefined, reason: Reason, message: string) => {
    if (object !== undefined) objects.set(object, { condition: "Programmed", reason, message });
  };
  for (const { object, entry, routeSource } of addresses.add) {
    if (isDue()) yield;
    const { address, interface: name } = entry;
    const lack = routeSource === undefined ? `is not on ${name}` : "has no route in the local table";
    lacks(object, "Pending", `${address} ${lack}`);
  }
  for (const { object, code, message } of addresses.blocked) {
    if (isDue()) yield;
    lacks(object, code === "interface-missing" ? "InterfaceNotFound" : "Pending", message);
  }
  return { objects, kinds: new Map() };
}

function addressNotices({ program, addresses, context }: PlanInput): readonly Degradation[] {
  const notices: Degradation[] = [];
  const { anchors, unanswered = [] } = addresses;
  if (unanswered.length > 0) {
    const named = unanswered.map(({ interface: name, address }) => `${address} on ${name}`).join();
    const message = `the kernel does not answer ARP for ${named}: its route in the local table is missing`;
    notices.push({ reason: "ArpIgnored", message });
  }
  if (anchors.length > 0) {
    const message = `an external interface has no address of its own: ${anchors.join()} keeps an address beside its route, because the kernel drops all routes with the last address`;
    notices.push({ reason: "NoOwnAddress", message });
  }
  if (addresses.isVpcBare) {
    const message = `${program.vpcInterface} has no address: hosts in the VPC cannot resolve the gateway`;
    notices.push({ reason: "NoOwnAddress", message });
  }
  const [first] = context.heldConflicts;
  if (first !== undefined) {
    const [address, mac] = first;
    const others = context.heldConflicts.size - 1;
    const more = others === 0 ? "" : `, and ${others} more EIPs have such a conflict`;
    notices.push({
      reason: "AddressConflict",
      message: `${mac} also answers ARP for the EIP ${address}${more}`,
    });
  }
  return notices;
}
