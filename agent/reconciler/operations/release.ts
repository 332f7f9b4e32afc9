/** Removes an orphan from the kernel, with the flows on it. Nothing else is removed only because somebody asks for it. */

import { endsAt, hasEndOf } from "../../../lib/conntrack/ends.ts";
import type { Change } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { AddressStep } from "../../../lib/plan/address-plan.ts";
import { describeAddressStep } from "../../../lib/plan/network/addresses.ts";
import type { StateChange } from "../../../lib/state/state.ts";
import type { ConntrackDriver, Dataplane, NetworkDriver } from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Pass } from "../pass/pass.ts";

export interface Released {
  readonly changes: readonly Change[];
  /** Rules of others that name it, in the words of the tool; they stay. */
  readonly foreignRules: readonly string[];
}

export interface ReleaseDeps {
  readonly network: NetworkDriver;
  readonly dataplane: Dataplane;
  readonly conntrack: ConntrackDriver;
  readonly store: StateAccess;
}

/**
 * The caller refuses an address that is desired; whether it is an orphan is looked up again in the kernel. Throws `not-adopted`,
 * `not-found` where it is no orphan, and `netlink-failed`.
 */
export async function release(
  { network, dataplane, conntrack, store }: ReleaseDeps,
  pass: Pass,
  address: Ip,
  signal: AbortSignal,
): Promise<Released> {
  const snapshot = await pass.observe(signal);
  if (pass.isUnadopted(store.current, snapshot)) {
    throw new GatewayError("not-adopted", "nothing is removed before the live state was adopted");
  }
  const { addresses, program } = await pass.preview(store.current, snapshot);
  const steps = addresses.orphans
    .filter((entry) => entry.address === address)
    .map((entry): AddressStep => ({ kind: "remove", binding: "address", entry }));
  if (steps.length === 0) throw new GatewayError("not-found", `${address} is no orphan on this gateway`);
  // Flows of a released address must be ended after a crash, too.
  await store.transact((): { changes: readonly StateChange[]; result: undefined } => ({
    changes: [{ type: "retire", address }],
    result: undefined,
  }));
  const [failure] = await network.applyAddresses(steps, signal);
  if (failure !== undefined) throw new GatewayError("netlink-failed", failure.message);
  const changes: Change[] = steps.map(describeAddressStep);
  const removed = await endFlows(address, program.family, conntrack, signal);
  if (removed > 0)
    changes.push({ action: "remove", subsystem: "flow", text: `${removed} flows on ${address}` });
  const rules = snapshot.observed.get("rule");
  const foreignRules = rules === undefined ? [] : dataplane.planner.foreignRulesNaming(rules, address);
  return { changes, foreignRules };
}

async function endFlows(
  address: Ip,
  family: Family,
  conntrack: ConntrackDriver,
  signal: AbortSignal,
): Promise<number> {
  const ends = endsAt(address);
  const { flows } = await conntrack.find(hasEndOf(ends, family), Number.MAX_SAFE_INTEGER, signal, ends);
  return flows.length === 0 ? 0 : (await conntrack.remove(flows, signal)).removed;
}
