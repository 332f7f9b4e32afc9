/**
 * The meaning of a desired set for packets, implemented a second time in a simple way, without the compiler or a
 * planner: the API documentation as code. Used to judge what the tracer sees.
 */

import type { Flow } from "../../../lib/conntrack/flow.ts";
import type { Dnat } from "../../../lib/kinds/dnat.ts";
import type { Eip } from "../../../lib/kinds/eip.ts";
import type { Fip } from "../../../lib/kinds/fip.ts";
import type { Spec } from "../../../lib/kinds/registry.ts";
import type { Route } from "../../../lib/kinds/route.ts";
import type { Snat } from "../../../lib/kinds/snat.ts";
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../../../lib/model/ip.ts";
import { contains, networkOf, reservedOf, toU32 } from "../../../lib/model/ipv4.ts";
import { type Kind, type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { Backend } from "../../../lib/model/schema.ts";
import type { Stored } from "../../../lib/model/stored.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { Transport } from "./tracer.ts";
import { eclipsing, hosts, ip } from "./universe.ts";

interface Circumstances {
  /** The gateway's own addresses. */
  readonly own: ReadonlySet<Ip>;
  /** Objects that cannot be programmed: refused by the kernel, or their address is held by another host. */
  readonly kept: ReadonlySet<ObjectId>;
}

export class Oracle {
  /** Objects that do not clash with an older one. */
  readonly accepted = new Set<ObjectId>();
  /** Eips to hold, by address. */
  readonly eips = new Map<Ip, Eip>();
  readonly fips: readonly Fip[];
  readonly dnats: readonly Dnat[];
  readonly snats: readonly Snat[];
  readonly routes: readonly Route[];
  readonly defaultGateway: Ip;
  readonly #names = new Map<string, Ip>();

  constructor(desired: Desired, { own, kept }: Circumstances) {
    const gateway = desired.gateway.defaultGateway ?? ip(hosts.outside);
    this.defaultGateway = gateway;
    const isIn = (kind: Kind, spec: Spec) => !kept.has(objectId(kind, spec.name));

    const taken = new Set<string>();
    for (const eip of byAge(desired.eips)) {
      const address = addressOf(eip.address);
      const reserved = Object.values(reservedOf(networkOf(eip.address)) ?? {});
      if (own.has(address) || address === gateway || reserved.includes(address) || taken.has(address))
        continue;
      if (own.has(ip(hosts.vpc)) && eclipsing.some((text) => text === eip.address)) continue;
      taken.add(address);
      this.accepted.add(objectId("eip", eip.name));
      if (!isIn("eip", eip)) continue;
      if (eip.bound !== false) this.eips.set(address, eip);
      this.#names.set(eip.name, address);
    }

    const fips: Fip[] = [];
    const dnats: Dnat[] = [];
    for (const fip of byAge(desired.fips))
      if (!own.has(fip.internalIp) && !fips.some(({ eip }) => eip === fip.eip)) fips.push(fip);
    for (const dnat of byAge(desired.dnats)) {
      const isOwn = backendsOf(dnat).some((backend) => own.has(backend.ip));
      if (!isOwn && !dnats.some((one) => isSameService(one, dnat))) dnats.push(dnat);
    }
    const snats: Snat[] = [];
    for (const snat of byAge(desired.snats))
      if (!snats.some(({ eip, internalCIDR }) => eip === snat.eip && internalCIDR === snat.internalCIDR))
        snats.push(snat);
    const routes: Route[] = [];
    for (const route of byAge(desired.routes))
      if (
        !contains(route.destination, gateway) &&
        !routes.some((one) => one.destination === route.destination)
      )
        routes.push(route);

    const users = { fip: fips, dnat: dnats, snat: snats, route: routes };
    for (const [kind, specs] of Object.entries(users))
      for (const { name } of specs) this.accepted.add(objectId(kind as Kind, name));
    const isLive = (kind: Kind) => (spec: Fip | Dnat | Snat) => this.#names.has(spec.eip) && isIn(kind, spec);
    this.fips = fips.filter(isLive("fip"));
    this.dnats = dnats.filter(isLive("dnat"));
    this.snats = snats.filter(isLive("snat"));
    this.routes = routes.filter((route) => isIn("route", route));
  }

  /** Every object that must work and be Ready: its rules, address or route exist, or it needs none. */
  get effective(): ReadonlySet<ObjectId> {
    const ids = (kind: Kind, specs: Iterable<Spec>) => Array.from(specs, ({ name }) => objectId(kind, name));
    const users = (kind: Kind, specs: readonly (Fip | Dnat | Snat)[]) =>
      ids(
        kind,
        specs.filter(({ eip }) => this.eips.has(this.#addressFor(eip))),
      );
    return new Set([
      ...ids("eip", this.eips.values()),
      ...users("fip", this.fips),
      // A DNAT beside a FIP has its rule, but gets no packets.
      ...users(
        "dnat",
        this.dnats.filter((dnat) => !this.fips.some(({ eip }) => eip === dnat.eip)),
      ),
      ...users("snat", this.snats),
      ...ids("route", this.routes),
    ]);
  }

  /** The addresses that rules may name, held or not. */
  get ruled(): ReadonlySet<Ip> {
    return new Set(this.#names.values());
  }

  addressOf(eip: string): Ip | undefined {
    return this.#names.get(eip);
  }

  /**
   * The backends that a packet to an EIP can reach. Empty if no object translates it; then only the gateway itself gets
   * it.
   */
  targets(address: Ip, transport: Transport, port: number): readonly Backend[] {
    const fip = this.#fipTargets(address, port);
    return fip.length > 0 ? fip : this.#dnatTargets(address, transport, port);
  }

  #fipTargets(address: Ip, port: number): readonly Backend[] {
    const fip = this.fips.find(({ eip }) => this.addressOf(eip) === address);
    return fip === undefined ? [] : [{ ip: fip.internalIp, port }];
  }

  #dnatTargets(address: Ip, transport: Transport, port: number): readonly Backend[] {
    const dnat = this.#dnatAt(address, transport, port);
    return dnat === undefined ? [] : backendsOf(dnat);
  }

  #dnatAt(address: Ip, transport: Transport, port: number): Dnat | undefined {
    return this.dnats.find(
      (one) => this.addressOf(one.eip) === address && one.protocol === transport && one.externalPort === port,
    );
  }

  /** True if a client always reaches the same backend. */
  isSticky(address: Ip, transport: Transport, port: number): boolean {
    return this.#dnatAt(address, transport, port)?.sessionAffinity === "ClientIP";
  }

  /** The EIP of a new flow from `client`. `undefined`: it leaves untranslated. */
  leavesBy(client: Ip): Ip | undefined {
    return this.#fipEips(client)[0] ?? this.#pools(client)[0]?.chosen;
  }

  /** Whom another pod sees as the source of a new flow from `client` by `eip`. Without an EIP that is held: the client. */
  hairpinsBy(client: Ip, eip: Ip): Ip {
    return this.#fipEips(client)[0] ?? (this.eips.has(eip) ? eip : client);
  }

  /** True if an object gives the flow its translation, or if no object covers it. `undefined`: both are acceptable. */
  permits(flow: Flow, ours: ReadonlySet<Ip>): boolean | undefined {
    const { original, reply } = flow;
    const transport = flow.protocol === 6 ? "tcp" : "udp";
    const { destination, destinationPort } = original;
    // Flows that a DNAT created before a FIP was added stay its own.
    const targets = [
      ...this.#fipTargets(destination, destinationPort),
      ...this.#dnatTargets(destination, transport, destinationPort),
    ];
    const isAsSent = reply.source === original.destination && reply.sourcePort === original.destinationPort;
    if (targets.length === 0) {
      if (!isAsSent) return !ours.has(original.destination);
    } else if (!targets.some((target) => target.ip === reply.source && target.port === reply.sourcePort)) {
      return false;
    }
    // Created by a foreign rule: whether it is ours depends on whether the rule was seen in one of the agent's chains.
    if (reply.destination === hosts.external) return undefined;
    if (this.eips.has(reply.source) || reply.source === hosts.external) return !ours.has(reply.destination);
    const isHairpin = targets.length > 0 && this.ruled.has(destination) && original.source.startsWith("10.");
    const isOutward = original.source.startsWith("10.") && reply.source.startsWith("203.");
    const allowed = new Set([
      ...this.#fipEips(original.source),
      ...(isOutward ? this.#pools(original.source).flatMap(({ members }) => members) : []),
      // What the rule translated while the EIP was held stays.
      ...(isHairpin ? [original.destination] : []),
      ...(isHairpin && !this.eips.has(destination) && this.#fipEips(original.source).length === 0
        ? [original.source]
        : []),
    ]);
    if (allowed.size === 0) return reply.destination === original.source || !ours.has(reply.destination);
    return allowed.has(reply.destination);
  }

  /** The EIPs of the pod's FIPs, oldest first. The oldest is used for outgoing traffic. */
  #fipEips(pod: Ip): readonly Ip[] {
    return this.fips.filter(({ internalIp }) => internalIp === pod).map(({ eip }) => this.#addressFor(eip));
  }

  /** The pools that contain the client, longest prefix first. */
  #pools(client: Ip): readonly { readonly members: readonly Ip[]; readonly chosen: Ip | undefined }[] {
    const byCidr = Map.groupBy(
      this.snats.filter(({ internalCIDR }) => contains(internalCIDR, client)),
      ({ internalCIDR }) => internalCIDR,
    );
    return [...byCidr]
      .toSorted(([one], [other]) => prefixLengthOf(other) - prefixLengthOf(one))
      .map(([cidr, snats]) => {
        const members = snats.slice(0, clientsOf(cidr)).map(({ eip }) => this.#addressFor(eip));
        const buckets = Math.min(16, clientsOf(cidr));
        return { members, chosen: members[(toU32(client) % buckets) % members.length] };
      });
  }

  #addressFor(eip: string): Ip {
    const address = this.addressOf(eip);
    if (address === undefined) throw new Error(`${eip} is not in force`);
    return address;
  }
}

export function backendsOf(spec: Dnat): readonly Backend[] {
  if (spec.backends !== undefined) return spec.backends;
  return spec.internalIp === undefined || spec.internalPort === undefined
    ? []
    : [{ ip: spec.internalIp, port: spec.internalPort }];
}

export function clientsOf(cidr: Cidr): number {
  return 2 ** (32 - prefixLengthOf(cidr));
}

function byAge<S>(objects: ReadonlyMap<string, Stored<S>>): readonly S[] {
  return [...objects.values()]
    .toSorted((one, other) => one.creation - other.creation)
    .map(({ spec }) => spec);
}

function isSameService(one: Dnat, other: Dnat): boolean {
  return one.eip === other.eip && one.protocol === other.protocol && one.externalPort === other.externalPort;
}
