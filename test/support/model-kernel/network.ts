/**
 * Links, addresses, routes and sysctls of one namespace in memory, including what the kernel removes together with each
 * of them.
 */
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../../../lib/model/ip.ts";
import { contains, makeCidr } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type {
  ObservedAddress,
  ObservedLink,
  ObservedNetwork,
  ObservedRoute,
  SysctlKey,
} from "../../../lib/model/observed.ts";
import { mainTable } from "../../../lib/plan/network/routes.ts";

/** An address to add to a link. */
export type Placed = Pick<ObservedAddress, "interface" | "address" | "prefixLength">;

const kernelProtocol = 2;

export class Network {
  #links: readonly ObservedLink[] = [];
  /** For each link first the primary, then the secondary ones, as the kernel lists them. */
  #addresses: readonly ObservedAddress[] = [];
  #routes: readonly ObservedRoute[] = [];
  readonly #sysctls = new Map<SysctlKey, number>([["net.ipv4.conf.all.arp_ignore", 0]]);

  constructor(links: readonly InterfaceName[]) {
    this.#links = links.map((name, index) => {
      for (const key of ["forwarding", "promote_secondaries", "arp_ignore"] as const)
        this.#sysctls.set(`net.ipv4.conf.${name}.${key}`, 0);
      return { index: index + 2, name, mac: `02:00:00:00:00:0${index}`, isUp: true, hasCarrier: true };
    });
    this.#sysctls.set("net.ipv4.ip_forward", 0);
  }

  observe(): ObservedNetwork {
    return {
      links: this.#links,
      addresses: this.#addresses,
      routes: this.#routes,
      sysctls: new Map(this.#sysctls),
    };
  }

  /** Like a write to /proc/sys: `ip_forward` sets every interface too. */
  setSysctl(key: SysctlKey, value: number): void {
    this.#sysctls.set(key, value);
    if (key !== "net.ipv4.ip_forward") return;
    for (const { name } of this.#links) this.#sysctls.set(`net.ipv4.conf.${name}.forwarding`, value);
  }

  setLink(name: InterfaceName, isUp: boolean): void {
    this.#links = this.#links.map((link) =>
      link.name === name ? { ...link, isUp, hasCarrier: isUp } : link,
    );
    if (isUp) this.#connect();
    else this.#routes = this.#routes.filter((route) => route.interface !== name);
  }

  isUp(name: InterfaceName): boolean {
    return this.#links.some((link) => link.name === name && link.isUp);
  }

  isForwarding(name: InterfaceName): boolean {
    return this.#sysctls.get(`net.ipv4.conf.${name}.forwarding`) === 1;
  }

  /** @returns the code of the refusal, `undefined` on success */
  addAddress(given: Placed): string | undefined {
    const peers = this.#subnetOf(given);
    if (peers.some(({ address }) => address === given.address)) return "EEXIST";
    const added = { ...given, isSecondary: peers.length > 0, label: given.interface };
    this.#addresses = sorted([...this.#addresses, added]);
    this.#connect();
    return undefined;
  }

  removeAddress(given: Placed): string | undefined {
    const gone = this.#subnetOf(given).find(({ address }) => address === given.address);
    if (gone === undefined) return "EADDRNOTAVAIL";
    const heirs = gone.isSecondary ? [] : this.#subnetOf(given).filter(({ isSecondary }) => isSecondary);
    const isPromoting = this.#sysctls.get(`net.ipv4.conf.${given.interface}.promote_secondaries`) === 1;
    const [heir] = heirs;
    this.#addresses = sorted(
      this.#addresses
        .filter((one) => one !== gone && (isPromoting || !heirs.includes(one)))
        .map((one) => (one === heir ? { ...one, isSecondary: false } : one)),
    );
    const isSubnetGone = this.#subnetOf(given).length === 0;
    const isLinkBare = !this.#addresses.some((one) => one.interface === given.interface);
    this.#routes = this.#routes.filter(
      (route) =>
        !(isLinkBare && route.interface === given.interface) && !(isSubnetGone && isConnected(route, given)),
    );
    return undefined;
  }

  addRoute(route: ObservedRoute): string | undefined {
    if (this.#rivals(route).length > 0) return "EEXIST";
    return this.#placeRoute(route, undefined);
  }

  /** Replaces the first route with the same destination and metric, or adds it. */
  replaceRoute(route: ObservedRoute): string | undefined {
    return this.#placeRoute(route, this.#rivals(route)[0]);
  }

  removeRoute(route: ObservedRoute): string | undefined {
    const gone = this.#rivals(route).find(
      ({ via, interface: name, protocol }) =>
        via === route.via && name === route.interface && protocol === route.protocol,
    );
    this.#routes = this.#routes.filter((other) => other !== gone);
    return gone === undefined ? "ESRCH" : undefined;
  }

  isLocal(address: Ip): boolean {
    return this.#addresses.some((one) => one.address === address);
  }

  /** The route of a packet to `address`: longest prefix, then lowest metric. */
  routeTo(address: Ip): ObservedRoute | undefined {
    return this.#routes
      .filter(({ destination }) => contains(destination, address))
      .toSorted(
        (one, other) =>
          prefixLengthOf(other.destination) - prefixLengthOf(one.destination) || one.metric - other.metric,
      )[0];
  }

  #placeRoute(route: ObservedRoute, replaced: ObservedRoute | undefined): string | undefined {
    const { via, interface: name } = route;
    if (name === undefined || !this.isUp(name)) return "ENETDOWN";
    if (via !== undefined && this.isLocal(via)) return "EINVAL";
    if (via !== undefined && !route.isOnlink) {
      const towards = this.routeTo(via);
      if (towards?.interface !== name || towards.via !== undefined) return "ENETUNREACH";
    }
    this.#routes =
      replaced === undefined
        ? [...this.#routes, route]
        : this.#routes.map((other) => (other === replaced ? route : other));
    return undefined;
  }

  #rivals({ destination, metric }: ObservedRoute): readonly ObservedRoute[] {
    return this.#routes.filter((route) => route.destination === destination && route.metric === metric);
  }

  #subnetOf(given: Placed): readonly ObservedAddress[] {
    const subnet = makeCidr(given.address, given.prefixLength);
    return this.#addresses.filter(
      (one) =>
        one.interface === given.interface &&
        one.prefixLength === given.prefixLength &&
        makeCidr(one.address, one.prefixLength) === subnet,
    );
  }

  /** Updates the routes of the subnets of links that are up. */
  #connect(): void {
    for (const one of this.#addresses) {
      const destination = makeCidr(one.address, one.prefixLength);
      if (one.prefixLength === 32 || !this.isUp(one.interface)) continue;
      if (this.#routes.some((route) => isConnected(route, one))) continue;
      this.#routes = [...this.#routes, connected(destination, one.interface)];
    }
  }
}

function connected(destination: Cidr, name: InterfaceName): ObservedRoute {
  return {
    table: mainTable,
    type: "unicast",
    destination,
    via: undefined,
    interface: name,
    protocol: kernelProtocol,
    metric: 0,
    isOnlink: false,
  };
}

function isConnected(route: ObservedRoute, { interface: name, address, prefixLength }: Placed): boolean {
  return (
    route.protocol === kernelProtocol &&
    route.interface === name &&
    addressOf(route.destination) === addressOf(makeCidr(address, prefixLength)) &&
    prefixLengthOf(route.destination) === prefixLength
  );
}

function sorted(addresses: readonly ObservedAddress[]): readonly ObservedAddress[] {
  return addresses.toSorted((one, other) => Number(one.isSecondary) - Number(other.isSecondary));
}
