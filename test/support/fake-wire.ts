/** A network as the announcer shows it: hosts that hold addresses and reply, hosts that send anything, and time. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { AddressOnLink, Announcer, HeardArp, ProbePurpose } from "../../agent/kernel/drivers.ts";
import { announcementsOf, type Mac, probeOf } from "../../lib/arp/packet.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { InterfaceName } from "../../lib/model/names.ts";

export const net1 = "net1" as InterfaceName;

export function onNet1(address: string): AddressOnLink {
  return { interface: net1, address: address as Ip };
}

export function macOf(number: number): Mac {
  return `02:00:00:00:${[number >> 8, number & 255].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}` as Mac;
}

export interface ProbesOnWire {
  readonly atMs: number;
  readonly addresses: readonly Ip[];
  readonly purpose: ProbePurpose;
}

export class FakeWire implements Announcer {
  nowMs = 0;
  /** Which host replies for an address. */
  readonly holders = new Map<Ip, Mac>();
  readonly probed: ProbesOnWire[] = [];
  readonly announced: Ip[] = [];
  listenedOn: ReadonlySet<InterfaceName> = new Set();
  /** The link refuses probes. */
  isDown = false;
  /** The error of every call. */
  failure: Error | undefined;
  #said: HeardArp[] = [];

  /** Another host sends an announcement. */
  claim(address: string, mac: Mac, link = net1): void {
    for (const packet of announcementsOf(mac, address as Ip)) this.#said.push({ interface: link, packet });
  }

  /** Another host asks for an address with `senderIp` as its own. Without it, this is a probe. */
  seek(address: string, mac: Mac, senderIp?: string): void {
    const probe = probeOf(mac, address as Ip);
    const packet = senderIp === undefined ? probe : { ...probe, senderIp: senderIp as Ip };
    this.#said.push({ interface: net1, packet });
  }

  /** Number of frames: one per probe with a reply, else two, like the real announcer. */
  get frames(): number {
    return this.probed.reduce((sum, { addresses }) => sum + addresses.length, 0);
  }

  /** How often an address was probed. */
  timesProbed(address: string): number {
    return this.probed.filter(({ addresses }) => addresses.includes(address as Ip)).length;
  }

  async probe(places: readonly AddressOnLink[], purpose: ProbePurpose, signal: AbortSignal) {
    const addresses = places.map(({ address }) => address);
    this.probed.push({ atMs: this.nowMs, addresses, purpose });
    await nextTurn();
    signal.throwIfAborted();
    if (this.failure !== undefined) throw this.failure;
    if (this.isDown) return { others: new Map(), unsent: new Set(addresses) };
    const others = new Map<Ip, Mac>();
    for (const address of addresses) {
      const mac = this.holders.get(address);
      if (mac !== undefined) others.set(address, mac);
    }
    return { others, unsent: new Set<Ip>() };
  }

  hear(links: ReadonlySet<InterfaceName>): readonly HeardArp[] {
    this.listenedOn = links;
    if (this.failure !== undefined) throw this.failure;
    return this.#said.splice(0).filter((one) => links.has(one.interface));
  }

  announce(places: readonly AddressOnLink[]): void {
    this.announced.push(...places.map(({ address }) => address));
  }

  async stop(): Promise<void> {}
}

/** Lets pending probes be answered and handled. */
export async function answersIn(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await nextTurn();
}
