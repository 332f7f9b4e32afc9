/**
 * Gratuitous ARP for EIPs, and ARP probes for other holders before an EIP is added. Neither changes the kernel's state,
 * and neither delays programming: announcements run in the background.
 */
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { announcementsOf, encodeArp, type Mac, parseMac } from "../../../lib/arp/packet.ts";
import { filterChunked } from "../../../lib/chunked.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { ObservedLink } from "../../../lib/model/observed.ts";
import { atMostOncePer, type Log } from "../../log.ts";
import { runYielding } from "../../run-yielding.ts";
import type { AddressOnLink, Announcer, HeardArp, ProbePurpose, ProbeResult } from "../drivers.ts";
import { ArpListener } from "./listener.ts";
import { openArpSocket, type PacketSocket, type SocketUse } from "./packet-socket.ts";
import { probeLink } from "./probe.ts";
import { broadcastAll } from "./send.ts";

export interface AnnouncerOptions {
  /** The links as last observed. */
  readonly links: () => readonly ObservedLink[];
  /** Called before each frame of a probe. False if the EIP was given up. */
  readonly isWanted: (place: AddressOnLink, purpose: ProbePurpose) => boolean;
  /** Called before each announcement. False if the EIP is gone or another host holds it. */
  readonly stillOwned: (held: AddressOnLink) => boolean;
  /** How long to wait for replies to a probe, in ms. 0 disables probes. */
  readonly probeMs: number;
  readonly log: Log;
  /** A link refused packets. Called with the name of the errno. */
  readonly onFailure?: (code: string) => void;
  /** The result of this many announcements, each of one EIP. */
  readonly onAnnounced?: (result: AnnounceResult, count: number) => void;
  /** When to announce, in ms after the call, in rising order. */
  readonly announceAtMs?: readonly number[];
  readonly openSocket?: (linkIndex: number, use: SocketUse) => PacketSocket;
}

/** `withdrawn`: the EIP was gone or contested when its turn came. */
export type AnnounceResult = "sent" | "failed" | "withdrawn";

/** At once, and again for hosts that missed the first one. */
const defaultAnnounceAtMs = [0, 1000, 3000];
const complaintPeriodMs = 60_000;
/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

export function createAnnouncer(options: AnnouncerOptions): Announcer {
  return new ArpAnnouncer(options);
}

class ArpAnnouncer implements Announcer {
  readonly #options: AnnouncerOptions;
  readonly #openSocket: NonNullable<AnnouncerOptions["openSocket"]>;
  readonly #stop = new AbortController();
  readonly #announcing = new Set<Promise<void>>();
  /** The newest series of announcements of each address. An older series skips the address. */
  readonly #newest = new Map<Ip, symbol>();
  readonly #listener: ArpListener;
  /** By link index. Kept open, because opening and closing one waits for the kernel. */
  readonly #senders = new Map<number, PacketSocket>();
  readonly #complain: (failure: { readonly link: InterfaceName; readonly code: string }) => void;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    this.#openSocket = options.openSocket ?? openArpSocket;
    this.#listener = new ArpListener((index) => this.#openSocket(index, "receive"));
    this.#complain = atMostOncePer(complaintPeriodMs, (failure, times) =>
      options.log.warn({ ...failure, times }, "a link refuses ARP packets"),
    );
  }

  /** Throws `internal` if no packet socket can be opened. Throws an AbortError on abort. */
  async probe(
    addresses: readonly AddressOnLink[],
    purpose: ProbePurpose,
    signal: AbortSignal,
  ): Promise<ProbeResult> {
    const { probeMs } = this.#options;
    const others = new Map<Ip, Mac>();
    const unsent = new Set<Ip>();
    if (probeMs === 0) return { others, unsent };
    const either = AbortSignal.any([signal, this.#stop.signal]);
    const ask = async (link: InterfaceName, group: readonly Ip[]) => {
      // Another gateway would take a further probe for that of a rival.
      const isWanted = (address: Ip) => this.#options.isWanted({ interface: link, address }, purpose);
      const found = await this.#onLink(link, async ({ index }, mac) => {
        const isOwn = this.#isOwn();
        const request = { mac, addresses: group, purpose, isWanted, isOwn, windowMs: probeMs };
        return probeLink(this.#openSocket(index, "receive"), request, either);
      });
      if (found?.failure !== undefined) this.#fail(link, found.failure);
      for (const address of group) {
        const mac = found?.others.get(address);
        if (mac !== undefined) others.set(address, mac);
        else if (found === undefined || found.failure !== undefined || !isWanted(address))
          unsent.add(address);
      }
    };
    await Promise.all([...byLink(addresses)].map(([link, group]) => ask(link, group)));
    return { others, unsent };
  }

  /** Skips missing links. Throws `internal` if no packet socket can be opened. */
  hear(names: ReadonlySet<InterfaceName>): readonly HeardArp[] {
    if (this.#stop.signal.aborted) return [];
    const links = this.#options.links().filter(({ name }) => names.has(name));
    const isOwn = this.#isOwn();
    this.#listener.listenOn(new Set(links.map(({ index }) => index)));
    const heard: HeardArp[] = [];
    for (const { name, index } of links)
      for (const packet of this.#listener.take(index))
        if (!isOwn(packet.senderMac)) heard.push({ interface: name, packet });
    return heard;
  }

  announce(addresses: readonly AddressOnLink[]): void {
    if (this.#stop.signal.aborted || addresses.length === 0) return;
    const run = this.#announceRepeatedly(addresses);
    this.#announcing.add(run);
    void run.finally(() => this.#announcing.delete(run));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#listener.close();
    await Promise.all(this.#announcing);
    this.#keepSenders(new Set());
  }

  async #announceRepeatedly(addresses: readonly AddressOnLink[]): Promise<void> {
    const { announceAtMs = defaultAnnounceAtMs } = this.#options;
    const id = Symbol("series");
    for (const { address } of addresses) this.#newest.set(address, id);
    try {
      let passedMs = 0;
      for (const atMs of announceAtMs) {
        await delay(atMs - passedMs, undefined, { signal: this.#stop.signal });
        passedMs = atMs;
        await nextTurn();
        for (const [link, group] of byLink(addresses)) await this.#announceOn(link, group, id);
      }
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#options.log.error({ err }, "cannot announce EIPs");
    } finally {
      for (const { address } of addresses) {
        if (this.#newest.get(address) === id) this.#newest.delete(address);
      }
    }
  }

  async #announceOn(link: InterfaceName, addresses: readonly Ip[], id: symbol): Promise<void> {
    const { stillOwned, onAnnounced } = this.#options;
    await nextTurn();
    const isMine = (address: Ip) => this.#newest.get(address) === id;
    const mine = await runYielding(filterChunked(addresses, lookedAtOnce, isMine));
    const counts = { sent: 0, withdrawn: 0 };
    const isOwned = (address: Ip) => stillOwned({ interface: link, address });
    await this.#onLink(link, async ({ index }, mac) => {
      const frames = announcements(mac, mine, isOwned, counts);
      const failure = await broadcastAll(this.#senderOn(index), frames, this.#stop.signal);
      if (failure !== undefined) this.#fail(link, failure);
    });
    const { sent, withdrawn } = counts;
    const results = { sent, withdrawn, failed: mine.length - sent - withdrawn } as const;
    for (const result of ["sent", "withdrawn", "failed"] as const)
      if (results[result] > 0) onAnnounced?.(result, results[result]);
  }

  /** Calls `use` with the link. `undefined` if the link does not exist or has no MAC. */
  async #onLink<T>(
    name: InterfaceName,
    use: (link: ObservedLink, mac: Mac) => Promise<T>,
  ): Promise<T | undefined> {
    const link = this.#options.links().find((candidate) => candidate.name === name);
    const mac = parseMac(link?.mac ?? "");
    if (link !== undefined && mac !== undefined) return use(link, mac);
    this.#fail(name, "ENODEV");
    return undefined;
  }

  #senderOn(linkIndex: number): PacketSocket {
    this.#keepSenders(new Set(this.#options.links().map(({ index }) => index)));
    const sender = this.#senders.get(linkIndex) ?? this.#openSocket(linkIndex, "send");
    this.#senders.set(linkIndex, sender);
    return sender;
  }

  #keepSenders(linkIndexes: ReadonlySet<number>): void {
    for (const [index, sender] of this.#senders) {
      if (linkIndexes.has(index)) continue;
      sender.close();
      this.#senders.delete(index);
    }
  }

  /** Tells whether a MAC is one of this gateway's, as last observed. */
  #isOwn(): (mac: Mac) => boolean {
    const macs = new Set(this.#options.links().map((link) => parseMac(link.mac)));
    return (mac) => macs.has(mac);
  }

  #fail(link: InterfaceName, code: string): void {
    this.#options.onFailure?.(code);
    this.#complain({ link, code });
  }
}

/**
 * Both forms of announcement for each address. The generator is asked when a frame's turn comes, so an EIP that is no
 * longer owned is not announced.
 */
function* announcements(
  mac: Mac,
  addresses: readonly Ip[],
  isOwned: (address: Ip) => boolean,
  counts: { sent: number; withdrawn: number },
) {
  for (const address of addresses) {
    let isSent = true;
    for (const packet of announcementsOf(mac, address)) {
      isSent &&= isOwned(address);
      if (isSent) yield encodeArp(packet);
    }
    if (isSent) counts.sent++;
    else counts.withdrawn++;
  }
}

function byLink(addresses: readonly AddressOnLink[]): ReadonlyMap<InterfaceName, readonly Ip[]> {
  const groups = new Map<InterfaceName, Ip[]>();
  for (const { interface: link, address } of addresses) {
    const group = groups.get(link);
    if (group === undefined) groups.set(link, [address]);
    else group.push(address);
  }
  return groups;
}
