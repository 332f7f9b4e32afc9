/**
 * Other hosts that hold EIPs which this gateway also holds. Such an EIP is kept, because someone may use it, but it is
 * not Ready and not announced. A received claim proves nothing, since any host can send one: the agent probes, and only
 * a reply is a conflict. A conflict ends as soon as a probe gets no reply.
 */
import { type Mac, unspecified } from "../../../lib/arp/packet.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { AddressOnLink, Announcer, HeardArp } from "../../kernel/drivers.ts";
import { atMostOncePer, type Log } from "../../log.ts";
import type { ProbeQueue, ProbeTask } from "./probe-queue.ts";

export type ClaimResult = "confirmed" | "unconfirmed";

export interface ArpConflictsOptions {
  /** Absent: no probes are sent. */
  readonly announcer: Pick<Announcer, "probe" | "announce"> | undefined;
  readonly queue: Pick<ProbeQueue, "schedule" | "reschedule" | "scheduleNow" | "pause" | "cancel">;
  /** The EIPs that the gateway held at the last reading. */
  readonly held: () => ReadonlyMap<Ip, AddressOnLink>;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Called when a conflict begins or ends. */
  readonly onChange: () => void;
  /** Called with the result of each claim that was probed. */
  readonly onClaim: (result: ClaimResult) => void;
  readonly log: Log;
}

/** A held address for which another host sent ARP packets, and what the probes of it found. */
interface Claim {
  readonly task: ProbeTask;
  /** The host that claimed it, until a probe shows whether it holds it. */
  claimant: Mac | undefined;
  /** The host that replied to the last probe: a conflict. */
  holder: Mac | undefined;
  /** When the agent last probed for it because another host did. */
  foreignProbeAtMs: number;
}

/**
 * A host that probes for a held address may hold it too and check for conflicts, so the agent probes as well. It does so
 * rarely, because most such hosts only wait for the address and probe every second.
 */
const foreignProbePauseMs = 60_000;
const logPeriodMs = 60_000;

export class ArpConflicts {
  readonly #options: ArpConflictsOptions;
  readonly #abort = new AbortController();
  readonly #claims = new Map<Ip, Claim>();
  readonly #running = new Set<Promise<void>>();
  readonly #logUnconfirmed: (about: { readonly address: Ip; readonly mac: Mac }) => void;
  #conflicts: ReadonlyMap<Ip, Mac> = new Map();
  #isPublishing = false;

  constructor(options: ArpConflictsOptions) {
    this.#options = options;
    this.#logUnconfirmed = atMostOncePer(logPeriodMs, (about, times) =>
      options.log.warn({ ...about, times }, "another host claimed this EIP but did not answer a probe"),
    );
  }

  /** The MAC of the other holder, by held address. A new map whenever anything changes. */
  get conflicts(): ReadonlyMap<Ip, Mac> {
    return this.#conflicts;
  }

  /** Takes in received ARP packets. Keeps state only for held addresses. */
  hear(heard: readonly HeardArp[]): void {
    const held = this.#options.held();
    this.#forgetAllBut(held);
    for (const { interface: link, packet } of heard) {
      const { operation, senderIp, senderMac, targetIp } = packet;
      const isProbe = operation === "request" && senderIp === unspecified;
      const place = held.get(isProbe ? targetIp : senderIp);
      if (place?.interface !== link) continue;
      if (isProbe) this.#onForeignProbe(place);
      else this.#onClaim(place, senderMac);
    }
  }

  /** Probes at once for other holders of these addresses. */
  probe(places: readonly AddressOnLink[]): void {
    const { announcer } = this.#options;
    if (announcer === undefined || places.length === 0 || this.#abort.signal.aborted) return;
    const run = this.#probe(places, announcer).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /**
   * An API call concerns these addresses: probes at once for conflicts over them.
   *
   * @param addresses absent: all
   */
  async probeNow(addresses?: ReadonlySet<Ip>): Promise<void> {
    const conflicting = [...this.#conflicts.keys()].filter((address) => addresses?.has(address) ?? true);
    const tasks = conflicting.flatMap((address) => this.#claims.get(address)?.task ?? []);
    await this.#options.queue.scheduleNow(tasks);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  #onClaim(place: AddressOnLink, mac: Mac): void {
    const claim = this.#claimOn(place);
    // A conflict is probed anyway, however many hosts claim the address.
    if (claim.holder !== undefined) return;
    claim.claimant = mac;
    this.#options.queue.schedule(claim.task, "claim");
  }

  #onForeignProbe(place: AddressOnLink): void {
    const claim = this.#claimOn(place);
    const nowMs = this.#options.nowMs();
    if (claim.holder !== undefined || nowMs - claim.foreignProbeAtMs < foreignProbePauseMs) return;
    claim.foreignProbeAtMs = nowMs;
    this.#options.queue.schedule(claim.task, "claim");
  }

  async #probe(
    places: readonly AddressOnLink[],
    announcer: Pick<Announcer, "probe" | "announce">,
  ): Promise<void> {
    const { log } = this.#options;
    try {
      const { others, unsent } = await announcer.probe(places, "keep", this.#abort.signal);
      for (const place of places) {
        const mac = others.get(place.address);
        const isKnown = mac !== undefined || this.#claims.has(place.address);
        if (isKnown && !unsent.has(place.address)) this.#onAnswer(place, mac);
      }
    } catch (err) {
      if (!this.#abort.signal.aborted) log.warn({ err }, "cannot probe for other holders of EIPs");
    }
  }

  #onAnswer(place: AddressOnLink, mac: Mac | undefined): void {
    const { queue, onClaim } = this.#options;
    const claim = this.#claimOn(place);
    const { task, claimant, holder } = claim;
    claim.holder = mac;
    claim.claimant = undefined;
    if (mac === undefined) queue.pause(task);
    else if (holder === undefined) queue.reschedule(task, "conflict");
    if (claimant !== undefined) onClaim(mac === undefined ? "unconfirmed" : "confirmed");
    if (claimant !== undefined && mac === undefined)
      this.#logUnconfirmed({ address: place.address, mac: claimant });
    if (holder !== mac) this.#publishSoon();
  }

  /** Answers come in batches: reports all their changes at once. */
  #publishSoon(): void {
    if (this.#isPublishing) return;
    this.#isPublishing = true;
    queueMicrotask(() => {
      this.#isPublishing = false;
      this.#publish();
    });
  }

  #publish(): void {
    const { announcer, held, onChange, log } = this.#options;
    const before = this.#conflicts;
    const conflicts = new Map<Ip, Mac>();
    for (const [address, { holder }] of this.#claims)
      if (holder !== undefined) conflicts.set(address, holder);
    this.#conflicts = conflicts;
    const begun = [...conflicts].filter(([address]) => !before.has(address));
    const ended = [...before.keys()].filter((address) => !conflicts.has(address));
    const [first] = begun;
    if (first !== undefined)
      log.warn(
        { address: first[0], mac: first[1], addresses: begun.length },
        "another host also holds an EIP",
      );
    if (begun.length + ended.length > 0) onChange();
    // Some hosts may have cached the other host's MAC.
    const places = held();
    announcer?.announce(ended.flatMap((address) => places.get(address) ?? []));
  }

  #claimOn(place: AddressOnLink): Claim {
    const known = this.#claims.get(place.address);
    if (known?.task.place.interface === place.interface) return known;
    if (known !== undefined) this.#options.queue.cancel(known.task);
    const claim: Claim = {
      task: { place, purpose: "keep", onAnswer: (mac) => this.#onAnswer(place, mac) },
      claimant: undefined,
      holder: undefined,
      foreignProbeAtMs: Number.NEGATIVE_INFINITY,
    };
    this.#claims.set(place.address, claim);
    return claim;
  }

  #forgetAllBut(held: ReadonlyMap<Ip, AddressOnLink>): void {
    let hasEnded = false;
    for (const [address, { task, holder }] of this.#claims) {
      if (held.get(address)?.interface === task.place.interface) continue;
      this.#claims.delete(address);
      this.#options.queue.cancel(task);
      hasEnded ||= holder !== undefined;
    }
    if (hasEnded) this.#publishSoon();
  }
}
