/**
 * Probes for other holders of EIPs before they are added, without delaying anything else: passes leave such an address
 * out, and the result wakes the next pass. An address that another host holds is probed until it is free.
 */

import type { Mac } from "../../../lib/arp/packet.ts";
import { type Chunked, filterChunked, forEachChunked } from "../../../lib/chunked.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { AddressOnLink, Announcer, HeardArp } from "../../kernel/drivers.ts";
import type { ProbeQueue, ProbeTask } from "./probe-queue.ts";

export interface ArpProbeOptions {
  /** Absent: no probes are sent, and every address counts as free. */
  readonly announcer: Pick<Announcer, "probe"> | undefined;
  readonly queue: Pick<ProbeQueue, "schedule" | "reschedule" | "scheduleNow" | "cancel">;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Called when an address is found free, or held by another host. */
  readonly onAnswer: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** What a pass needs to know about the addresses that it would add. */
export interface ProbeState {
  /** A probe is in progress: leave these addresses out for now. */
  readonly probing: ReadonlySet<Ip>;
  /** Addresses held by another host, with its MAC. */
  readonly addressConflicts: ReadonlyMap<Ip, Mac>;
}

/** An address to add that another host answered for. */
interface AddressConflict {
  readonly task: ProbeTask;
  holder: Mac;
}

/** A free address that is not added within this time is probed again. */
const freeForMs = 60_000;
/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

export class ArpProbe {
  readonly #options: ArpProbeOptions;
  readonly #abort = new AbortController();
  /** The time when a probe got no reply. */
  readonly #free = new Map<Ip, number>();
  readonly #probing = new Set<Ip>();
  readonly #conflicts = new Map<Ip, AddressConflict>();
  readonly #running = new Set<Promise<void>>();
  /** The candidates of the last review. */
  #candidates: ReadonlyMap<Ip, AddressOnLink> = new Map();
  #probeState: ProbeState = { probing: new Set(), addressConflicts: new Map() };

  constructor(options: ArpProbeOptions) {
    this.#options = options;
  }

  /** False: other hosts may hold the same EIPs. */
  get isProbing(): boolean {
    return this.#options.announcer !== undefined;
  }

  /**
   * Returns the state of `candidates` (desired addresses that the kernel does not hold), and starts probes for new
   * ones. Forgets addresses that are no longer candidates. In parts.
   */
  *review(candidates: readonly AddressOnLink[]): Chunked<ProbeState> {
    const { announcer, nowMs } = this.#options;
    if (announcer === undefined) return this.#probeState;
    const wanted = new Map<Ip, AddressOnLink>();
    yield* forEachChunked(candidates, lookedAtOnce, (place) => wanted.set(place.address, place));
    this.#candidates = wanted;
    yield* forEachChunked(this.#free, lookedAtOnce, ([address, sinceMs]) => {
      if (!wanted.has(address) || nowMs() - sinceMs > freeForMs) this.#free.delete(address);
    });
    for (const [address, { task }] of this.#conflicts)
      if (!this.isWanted(task.place)) this.#endConflict(address);

    const isKnown = ({ address }: AddressOnLink) =>
      this.#free.has(address) || this.#probing.has(address) || this.#conflicts.has(address);
    const unknown = yield* filterChunked(candidates, lookedAtOnce, (place) => !isKnown(place));
    if (unknown.length > 0) this.#startProbes(unknown, announcer);
    const probing = yield* filterChunked(this.#probing, lookedAtOnce, (address) => wanted.has(address));
    // After `probing`: if a probe ends in between, its address is at least in one of the two.
    this.#probeState = {
      probing: new Set(probing),
      addressConflicts: new Map(Array.from(this.#conflicts, ([address, { holder }]) => [address, holder])),
    };
    return this.#probeState;
  }

  /** True if the last review was to add this address to that link. */
  isWanted({ address, interface: link }: AddressOnLink): boolean {
    return this.#candidates.get(address)?.interface === link;
  }

  /** The result of the last review, so that planning again within a pass uses the same data. */
  get probeState(): ProbeState {
    return this.#probeState;
  }

  /** True if a probe got no reply. Forgotten at the first review after the address was added. */
  isFree(address: Ip): boolean {
    return this.#free.has(address);
  }

  /** True if an address that the gateway does not hold can be added without another probe. */
  mayAdd(address: Ip): boolean {
    const { announcer, nowMs } = this.#options;
    const sinceMs = this.#free.get(address);
    return announcer === undefined || (sinceMs !== undefined && nowMs() - sinceMs <= freeForMs);
  }

  /** The addresses to be added that another host holds. */
  get conflicts(): ReadonlyMap<Ip, { readonly holder: Mac }> {
    return this.#conflicts;
  }

  /** The links on which to listen. */
  get links(): ReadonlySet<InterfaceName> {
    return new Set(Array.from(this.#conflicts.values(), ({ task }) => task.place.interface));
  }

  /**
   * An API call concerns these addresses: probes at once for those that another host holds.
   *
   * @param addresses absent: all
   */
  async probeNow(addresses?: ReadonlySet<Ip>): Promise<void> {
    const conflicts = [...this.#conflicts].filter(([address]) => addresses?.has(address) ?? true);
    await this.#options.queue.scheduleNow(conflicts.map(([, { task }]) => task));
  }

  /**
   * Probes an address again if its holder probes for it, which no host does for its own address, or if a third host
   * claims it. A host that only probes for it waits, like this gateway.
   */
  hear(heard: readonly HeardArp[]): void {
    if (this.#conflicts.size === 0) return;
    for (const { interface: link, packet } of heard) {
      const { operation, senderIp, senderMac, targetIp } = packet;
      const claimed = this.#conflicts.get(senderIp);
      const requested = operation === "request" ? this.#conflicts.get(targetIp) : undefined;
      if (claimed !== undefined && claimed.holder !== senderMac) this.#scheduleProbe(claimed, link);
      if (requested?.holder === senderMac && senderIp !== targetIp) this.#scheduleProbe(requested, link);
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  #scheduleProbe({ task }: AddressConflict, link: InterfaceName): void {
    if (task.place.interface === link) this.#options.queue.schedule(task, "addition");
  }

  #startProbes(places: readonly AddressOnLink[], announcer: Pick<Announcer, "probe">): void {
    if (this.#abort.signal.aborted) return;
    for (const { address } of places) this.#probing.add(address);
    const run = this.#probe(places, announcer).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #probe(places: readonly AddressOnLink[], announcer: Pick<Announcer, "probe">): Promise<void> {
    const { nowMs, onAnswer, onFailure } = this.#options;
    let others: ReadonlyMap<Ip, Mac> = new Map();
    try {
      ({ others } = await announcer.probe(places, "take", this.#abort.signal));
    } catch (error) {
      // Without a result, treat the address as free: an EIP in use is worth more than an EIP that nobody serves.
      onFailure(error);
    }
    if (this.#abort.signal.aborted) return;
    for (const place of places) {
      this.#probing.delete(place.address);
      const mac = others.get(place.address);
      if (!this.isWanted(place)) continue;
      if (mac === undefined) this.#free.set(place.address, nowMs());
      else this.#addConflict(place, mac);
    }
    onAnswer();
  }

  #addConflict(place: AddressOnLink, holder: Mac): void {
    const { queue, nowMs, onAnswer } = this.#options;
    const { address } = place;
    const conflict: AddressConflict = {
      holder,
      task: {
        place,
        purpose: "take",
        onAnswer: (mac) => {
          // If another host holds it, no pass has to run sooner.
          if (mac !== undefined) {
            conflict.holder = mac;
            return;
          }
          this.#endConflict(address);
          this.#free.set(address, nowMs());
          onAnswer();
        },
      },
    };
    this.#conflicts.set(address, conflict);
    queue.reschedule(conflict.task, "addition");
  }

  #endConflict(address: Ip): void {
    const conflict = this.#conflicts.get(address);
    this.#conflicts.delete(address);
    if (conflict !== undefined) this.#options.queue.cancel(conflict.task);
  }
}
