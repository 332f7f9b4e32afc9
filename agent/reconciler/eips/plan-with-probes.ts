/**
 * Plans with the results of ARP probes: first as if all addresses were free, to find which to probe; then again without
 * those that another host holds, or whose probe is still in progress.
 */

import { type Chunked, filterChunked, forEachChunked, runSync } from "../../../lib/chunked.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { Ledger } from "../../../lib/model/ledger.ts";
import { ledgerIndex } from "../../../lib/model/ledger-index.ts";
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { AddressPlan } from "../../../lib/plan/address-plan.ts";
import { heldInChunked } from "../../../lib/plan/network/bindings.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { PlanContext } from "../../../lib/plan/plan-input.ts";
import type { AddressOnLink } from "../../kernel/drivers.ts";
import { runYielding } from "../../run-yielding.ts";
import type { ArpProbe } from "./arp-probe.ts";

/** What the results of probes say in a plan. */
type ProbeContext = Pick<PlanContext, "probing" | "addressConflicts">;

/** All addresses count as free. */
const allFree: ProbeContext = { probing: new Set(), addressConflicts: new Map() };

/**
 * Starts probes for addresses that were not probed yet.
 *
 * @param plan plans with these results of probes, or with the last ones of `arpProbe`
 * @param ledger the ledger of this epoch
 */
export async function planWithProbes(
  plan: (probes?: ProbeContext) => Promise<Plan>,
  arpProbe: Pick<ArpProbe, "review">,
  ledger: Ledger,
  network: ObservedNetwork,
): Promise<Plan> {
  const firstPlan = await plan(allFree);
  const candidates = await runYielding(addressesToProbeChunked(firstPlan.addresses, ledger, network));
  const { probing, addressConflicts } = await runYielding(arpProbe.review(candidates));
  return probing.size + addressConflicts.size === 0 ? firstPlan : plan();
}

/** The addresses to add that another host may hold. */
export function addressesToProbe(
  ...given: Parameters<typeof addressesToProbeChunked>
): readonly AddressOnLink[] {
  return runSync(addressesToProbeChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

/** The same in parts. */
export function* addressesToProbeChunked(
  { add }: Pick<AddressPlan, "add">,
  ledger: Pick<Ledger, "addresses">,
  network: ObservedNetwork,
): Chunked<readonly AddressOnLink[]> {
  // Addresses in the ledger were held in this epoch: one that another program removed comes back at once.
  const known = yield* ledgerIndex(ledger);
  const unknown = yield* filterChunked(add, lookedAtOnce, ({ entry }) => !known.has(entry));
  if (unknown.length === 0) return [];
  // Addresses held here with another prefix length or binding: no other host has them.
  const held = new Set<Ip>();
  yield* forEachChunked(yield* heldInChunked(network), lookedAtOnce, ({ address }) => held.add(address));
  const places: AddressOnLink[] = [];
  yield* forEachChunked(unknown, lookedAtOnce, ({ object, entry }) => {
    if (object !== undefined && !held.has(entry.address)) places.push(entry);
  });
  return places;
}
