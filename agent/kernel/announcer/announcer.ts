/**
 * Gratuitous ARP for EIPs, and the question before one is taken whether another host holds it. Neither writes
 * to the kernel, and neither holds up programming: announcing goes on in the background.
 */
import { setTimeout as delay } from "node:timers/promises";
import { announcementsOf, encodeArp, type Mac, parseMac } from "../../../lib/arp/packet.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { ObservedLink } from "../../../lib/model/observed.ts";
import { atMostOncePer, type Log } from "../../log.ts";
import type { AddressOnLink, Announcer } from "../drivers.ts";
import { ClaimListener } from "./claim-listener.ts";
import { openArpSocket, type PacketSocket } from "./packet-socket.ts";
import { probeLink } from "./probe.ts";
import { broadcastAll } from "./send.ts";

export interface AnnouncerOptions {
  /** The links as last observed. */
  readonly links: () => readonly ObservedLink[];
  /** Asked before each announcement: false where the EIP is gone, or another host turned out to hold it. */
  readonly stillOwned: (held: AddressOnLink) => boolean;
  /** How long to wait for answers to a probe; 0: never probe. */
  readonly probeMs: number;
  readonly log: Log;
  /** A link did not take packets; called with the errno's name. */
  readonly onFailure?: (code: string) => void;
  /** When to announce, in rising order, counted from the call. */
  readonly announceAtMs?: readonly number[];
  readonly openSocket?: (linkIndex: number) => PacketSocket;
}

/** Now, and again for those who lost the first. */
const defaultAnnounceAtMs = [0, 1000, 3000];
const complaintPeriodMs = 60_000;

export function createAnnouncer(options: AnnouncerOptions): Announcer {
  return new ArpAnnouncer(options);
}

class ArpAnnouncer implements Announcer {
  readonly #options: AnnouncerOptions;
  readonly #stop = new AbortController();
  readonly #campaigns = new Set<Promise<void>>();
  /** The newest campaign of each address: an older one leaves it alone. */
  readonly #newest = new Map<Ipv4, symbol>();
  readonly #listener: ClaimListener;
  readonly #complain: (failure: { readonly link: InterfaceName; readonly code: string }) => void;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    this.#listener = new ClaimListener(options.openSocket ?? openArpSocket);
    this.#complain = atMostOncePer(complaintPeriodMs, (failure, times) =>
      options.log.warn({ ...failure, times }, "a link does not take ARP"),
    );
  }

  /**
   * Asks who else holds each address. A link that is missing, down or without Ethernet gives no answer. Throws
   * `internal` where no packet socket can be opened, and an AbortError.
   */
  async probe(addresses: readonly AddressOnLink[], signal: AbortSignal): Promise<ReadonlyMap<Ipv4, Mac>> {
    const { probeMs } = this.#options;
    if (probeMs === 0 || addresses.length === 0) return new Map();
    const either = AbortSignal.any([signal, this.#stop.signal]);
    const answers = await Promise.all(
      [...byLink(addresses)].map(([link, group]) =>
        this.#onLink(link, async (socket, mac) => {
          const request = { mac, addresses: group, isOwn: this.#isOwn, windowMs: probeMs };
          const { claims, failure } = await probeLink(socket, request, either);
          if (failure !== undefined) this.#fail(link, failure);
          return claims;
        }),
      ),
    );
    return new Map(answers.flatMap((claims) => [...(claims ?? [])]));
  }

  /** Links that are missing are passed over. Throws `internal` where no packet socket can be opened. */
  hear(names: ReadonlySet<InterfaceName>): ReadonlyMap<Ipv4, Mac> {
    if (this.#stop.signal.aborted) return new Map();
    const links = this.#options.links().filter(({ name }) => names.has(name));
    const claims = this.#listener.hear(new Set(links.map(({ index }) => index)));
    return new Map([...claims].filter(([, mac]) => !this.#isOwn(mac)));
  }

  announce(addresses: readonly AddressOnLink[]): void {
    if (this.#stop.signal.aborted || addresses.length === 0) return;
    const campaign = this.#campaign(addresses);
    this.#campaigns.add(campaign);
    void campaign.finally(() => this.#campaigns.delete(campaign));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#listener.close();
    await Promise.all(this.#campaigns);
  }

  async #campaign(addresses: readonly AddressOnLink[]): Promise<void> {
    const { announceAtMs = defaultAnnounceAtMs } = this.#options;
    const id = Symbol("campaign");
    for (const { address } of addresses) this.#newest.set(address, id);
    try {
      let passedMs = 0;
      for (const atMs of announceAtMs) {
        await delay(atMs - passedMs, undefined, { signal: this.#stop.signal });
        passedMs = atMs;
        for (const [link, group] of byLink(addresses)) await this.#announceOn(link, group, id);
      }
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#options.log.error({ err }, "announcing failed");
    } finally {
      for (const { address } of addresses) {
        if (this.#newest.get(address) === id) this.#newest.delete(address);
      }
    }
  }

  async #announceOn(link: InterfaceName, addresses: readonly Ipv4[], id: symbol): Promise<void> {
    const { stillOwned } = this.#options;
    const isDue = (address: Ipv4) =>
      this.#newest.get(address) === id && stillOwned({ interface: link, address });
    await this.#onLink(link, async (socket, mac) => {
      const failure = await broadcastAll(socket, announcements(mac, addresses, isDue), this.#stop.signal);
      if (failure !== undefined) this.#fail(link, failure);
    });
  }

  /** Runs `use` with a socket on the link; `undefined` where there is no such link, or none with a MAC. */
  async #onLink<T>(
    name: InterfaceName,
    use: (socket: PacketSocket, mac: Mac) => Promise<T>,
  ): Promise<T | undefined> {
    const { links, openSocket = openArpSocket } = this.#options;
    const link = links().find((candidate) => candidate.name === name);
    const mac = parseMac(link?.mac ?? "");
    if (link === undefined || mac === undefined) {
      this.#fail(name, "ENODEV");
      return undefined;
    }
    const socket = openSocket(link.index);
    try {
      return await use(socket, mac);
    } finally {
      socket.close();
    }
  }

  readonly #isOwn = (mac: Mac): boolean => this.#options.links().some((link) => parseMac(link.mac) === mac);

  #fail(link: InterfaceName, code: string): void {
    this.#options.onFailure?.(code);
    this.#complain({ link, code });
  }
}

/** Both forms of each address that is still due when its turn comes. */
function* announcements(mac: Mac, addresses: readonly Ipv4[], isDue: (address: Ipv4) => boolean) {
  for (const address of addresses) {
    if (isDue(address)) for (const packet of announcementsOf(mac, address)) yield encodeArp(packet);
  }
}

function byLink(addresses: readonly AddressOnLink[]): ReadonlyMap<InterfaceName, readonly Ipv4[]> {
  const groups = new Map<InterfaceName, Ipv4[]>();
  for (const { interface: link, address } of addresses) {
    const group = groups.get(link);
    if (group === undefined) groups.set(link, [address]);
    else group.push(address);
  }
  return groups;
}
