/**
 * Probes at once for addresses in conflict, because an API call concerns them: someone may have freed them just now.
 */

import { eipAddressesOf } from "../../../lib/compile/references.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { PlanContext } from "../../../lib/plan/plan-input.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { ArpConflicts } from "./arp-conflicts.ts";
import type { ArpProbe } from "./arp-probe.ts";

/** Addresses that another host answered for: not held here, and held here. */
type Conflicts = Pick<PlanContext, "addressConflicts" | "heldConflicts">;

export interface RequestedProbesDeps {
  readonly store: Pick<StateAccess, "current">;
  readonly arpProbe: Pick<ArpProbe, "conflicts" | "probeNow">;
  readonly arpConflicts: Pick<ArpConflicts, "conflicts" | "probeNow">;
  /** The conflicts of the pass whose verdicts are published. `undefined` before the first. */
  readonly published: () => Conflicts | undefined;
  /** Runs a full pass that begins after the call. */
  readonly runPass: (reason: string, signal: AbortSignal) => Promise<unknown>;
}

export class RequestedProbes {
  readonly #deps: RequestedProbesDeps;

  constructor(deps: RequestedProbesDeps) {
    this.#deps = deps;
  }

  /** Probes for all addresses in conflict. Does not wait for the replies. */
  probeAll(): void {
    void this.#probe();
  }

  /**
   * Probes for the addresses in conflict of these objects. Resolves when free ones were added, after `timeoutMs`, or at
   * the signal. Never rejects.
   *
   * @returns the rest of `timeoutMs`
   */
  async probeFor(ids: readonly ObjectId[], timeoutMs: number, signal: AbortSignal): Promise<number> {
    const { store, runPass } = this.#deps;
    if (this.#conflicts.every(({ size }) => size === 0)) return timeoutMs;
    const isFreed = this.#isFreed(eipAddressesOf(store.current.desired, ids));
    if (timeoutMs === 0) return 0;
    const begunMs = performance.now();
    const end = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const ended = Promise.withResolvers<false>();
    end.addEventListener("abort", () => ended.resolve(false), { once: true });
    // The loop reports a failed pass, and the board answers waiting requests.
    if (await Promise.race([isFreed, ended.promise])) await runPass("probe", end).catch(() => undefined);
    return end.aborted ? 0 : Math.max(0, timeoutMs - (performance.now() - begunMs));
  }

  /** True if a conflict over one of these addresses is over, and the published verdicts do not say so. */
  async #isFreed(addresses: ReadonlySet<Ip>): Promise<boolean> {
    const { arpProbe, arpConflicts } = this.#deps;
    const known = this.#conflicts;
    const contested = [...addresses].filter((address) => known.some((conflicts) => conflicts.has(address)));
    await this.#probe(addresses);
    return contested.some(
      (address) => !arpProbe.conflicts.has(address) && !arpConflicts.conflicts.has(address),
    );
  }

  /** @param addresses absent: all */
  async #probe(addresses?: ReadonlySet<Ip>): Promise<void> {
    const { arpProbe, arpConflicts } = this.#deps;
    await Promise.all([arpProbe.probeNow(addresses), arpConflicts.probeNow(addresses)]);
  }

  /** The conflicts now, and those of the published verdicts: the pass that a free address wakes may not have ended yet. */
  get #conflicts(): readonly ReadonlyMap<Ip, unknown>[] {
    const { arpProbe, arpConflicts, published } = this.#deps;
    const verdicts = published();
    const judged = verdicts === undefined ? [] : [verdicts.addressConflicts, verdicts.heldConflicts];
    return [arpProbe.conflicts, arpConflicts.conflicts, ...judged];
  }
}
