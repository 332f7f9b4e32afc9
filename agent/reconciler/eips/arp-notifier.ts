/** Announces the EIPs that a pass found or added, and probes for those that were never probed. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Chunked, filterChunked, forEachChunked } from "../../../lib/chunked.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { ObservedLink, ObservedNetwork } from "../../../lib/model/observed.ts";
import type { Program, ProgramEip } from "../../../lib/model/program.ts";
import { heldInChunked } from "../../../lib/plan/network/bindings.ts";
import type { Announcer } from "../../kernel/drivers.ts";
import { runYielding } from "../../run-yielding.ts";
import type { ArpConflicts } from "./arp-conflicts.ts";
import type { ArpProbe } from "./arp-probe.ts";
import type { HeldEips } from "./held-eips.ts";

export interface ArpNotifierDeps {
  readonly announcer: Pick<Announcer, "announce">;
  readonly arpProbe: Pick<ArpProbe, "isFree" | "isProbing">;
  readonly arpConflicts: Pick<ArpConflicts, "probe">;
  /** What announcements and probes look up. */
  readonly heldEips: Pick<HeldEips, "prepare">;
}

export class ArpNotifier {
  readonly #deps: ArpNotifierDeps;
  /** The links that were up with a carrier at the last pass, by name, index and MAC. */
  #workingLinks: ReadonlySet<string> | undefined;

  constructor(deps: ArpNotifierDeps) {
    this.#deps = deps;
  }

  /**
   * Announces added EIPs, and all EIPs of a link that came up, was recreated or has a new MAC (at start this is every
   * link), because hosts may have another MAC in their cache. Probes for other holders of EIPs that were not probed
   * before they were added.
   *
   * Where other hosts may hold the same EIPs (replicas), a start announces none that the kernel held already: that would
   * take the packets of live flows away from the replica that translates them.
   */
  async announceNew({ eips }: Program, before: ObservedNetwork, after: ObservedNetwork): Promise<void> {
    const { announcer, arpProbe, arpConflicts, heldEips } = this.#deps;
    const links = this.#linksThatCameUp(after);
    if (links.size === 0 && before === after) return;
    await runYielding(heldEips.prepare(after));
    const held = await runYielding(addressesIn(before));
    const present = await runYielding(addressesIn(after));
    const isNew = (eip: ProgramEip) => links.has(eip.interface) || !held.has(eip.address);
    const toAnnounce = await runYielding(
      filterChunked(eips, lookedAtOnce, (eip) => present.has(eip.address) && isNew(eip)),
    );
    await nextTurn();
    announcer.announce(toAnnounce);
    await nextTurn();
    arpConflicts.probe(toAnnounce.filter(({ address }) => !arpProbe.isFree(address)));
  }

  #linksThatCameUp({ links }: ObservedNetwork): ReadonlySet<InterfaceName> {
    const known = this.#workingLinks ?? new Set();
    const isQuiet = this.#workingLinks === undefined && !this.#deps.arpProbe.isProbing;
    const working = links.filter(({ isUp, hasCarrier }) => isUp && hasCarrier);
    this.#workingLinks = new Set(working.map(linkKey));
    if (isQuiet) return new Set();
    return new Set(working.filter((link) => !known.has(linkKey(link))).map(({ name }) => name));
  }
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

function* addressesIn(network: ObservedNetwork): Chunked<ReadonlySet<Ip>> {
  const addresses = new Set<Ip>();
  yield* forEachChunked(yield* heldInChunked(network), lookedAtOnce, ({ address }) => addresses.add(address));
  return addresses;
}

function linkKey({ name, index, mac }: ObservedLink): string {
  return `${name} ${index} ${mac}`;
}
