/**
 * Removes the flows on an orphan address, then the address: as for an EIP, rules go first. Owned rules on an orphan are
 * drift, which the pass before has removed. Orphans are all that is removed only on request.
 */

import { checkIfMatch, type IfMatch } from "../../../lib/admission/writes.ts";
import { endsAt, hasEndOf } from "../../../lib/conntrack/ends.ts";
import type { Change } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { AddressStep } from "../../../lib/plan/address-plan.ts";
import type { NetfilterObserved } from "../../../lib/plan/netfilter/observed.ts";
import { describeAddressStep } from "../../../lib/plan/network/addresses.ts";
import type { StateChange } from "../../../lib/state/state.ts";
import { counted } from "../../../lib/text/quantities.ts";
import type { ConntrackDriver, Dataplane, NetworkDriver } from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Pass } from "../pass/pass.ts";

export interface Released {
  readonly changes: readonly Change[];
  /** Foreign rules that contain the address, as the tool prints them. They stay. */
  readonly foreignRules: readonly string[];
}

export interface ReleaseRequest {
  readonly address: Ip;
  readonly ifMatch?: IfMatch | undefined;
}

export interface ReleaseDeps {
  readonly network: NetworkDriver;
  readonly dataplane: Dataplane;
  readonly conntrack: ConntrackDriver;
  readonly store: StateAccess;
}

/**
 * The caller refuses an address that is desired, and has run a pass. Whether it is an orphan is checked again in the
 * kernel. Throws `precondition-failed`, `not-adopted`, `not-found` if it is no orphan, `rules-refused` if owned rules on it are left, and
 * `netlink-failed`.
 */
export async function release(
  { network, dataplane, conntrack, store }: ReleaseDeps,
  pass: Pick<Pass, "observe" | "isUnadopted" | "preview">,
  { address, ifMatch }: ReleaseRequest,
  signal: AbortSignal,
): Promise<Released> {
  const snapshot = await pass.observe(signal);
  if (pass.isUnadopted(store.current, snapshot)) {
    throw new GatewayError("not-adopted", "the live state is not adopted yet, so nothing can be removed");
  }
  const { addresses, program } = await pass.preview(store.current, snapshot);
  const steps = addresses.orphans
    .filter((entry) => entry.address === address)
    .map((entry): AddressStep => ({ kind: "remove", binding: "address", entry }));
  if (steps.length === 0) throw new GatewayError("not-found", `${address} is not an orphan on this gateway`);
  const unreadRules = snapshot.unread.get("rule");
  if (unreadRules !== undefined) throw unreadRules;
  if (snapshot.facts.eipsNamedByRules.has(address))
    throw new GatewayError("rules-refused", `owned rules on ${address} could not be removed`);
  // The flows of a released address must be ended even after a crash.
  await store.transact((state): { changes: readonly StateChange[]; result: undefined } => {
    checkIfMatch(state, ifMatch);
    return { changes: [{ type: "retire", address }], result: undefined };
  });
  const removed = await endFlows(address, program.family, conntrack, signal);
  const [failure] = await network.applyAddresses(steps, signal);
  if (failure !== undefined) throw new GatewayError("netlink-failed", failure.message);
  const changes: Change[] = steps.map(describeAddressStep);
  if (removed > 0)
    changes.push({ action: "remove", subsystem: "flow", text: `${counted(removed, "flow")} on ${address}` });
  const rules = snapshot.observed.get("rule");
  const { foreign = [] } = (snapshot.observed.get("netfilter") ?? {}) as Partial<NetfilterObserved>;
  const foreignRules =
    rules === undefined ? [] : dataplane.planner.foreignRulesNaming(rules, address, foreign);
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
