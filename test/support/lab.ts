/**
 * A lab: a gateway between an outside host and the pods of a VPC, each in its own network namespace.
 *
 *     outside 203.0.113.1 ── br-out ── net1 gw eth0 ── br-vpc ── eth0 pod1 10.0.1.5
 *                                203.0.113.254  10.0.1.254     └─ eth0 pod2 10.0.1.6
 *
 * The bridges are in a fifth namespace, the wire: nothing is created in the machine's own namespace. The gateway starts
 * like a pod that waits for its agent: no default route and forwarding off.
 */

import { runIn } from "./in-namespace.ts";
import { addNamespaces, deleteNamespaces, ipBatch, listNamespaces } from "./namespaces.ts";
import { type RunOptions, until } from "./run.ts";

export type HostName = "outside" | "gw" | `pod${number}`;

/** The addresses in every lab. */
export const labAddresses = {
  outside: "203.0.113.1",
  /** The gateway's own addresses on `net1` and `eth0`. */
  external: "203.0.113.254",
  vpc: "10.0.1.254",
  /** The next hop to the VPC's other networks. No host has this address. */
  vpcRouter: "10.0.1.1",
} as const;

/** The gateway's route to the VPC's other networks. It is removed with eth0. A line for `ip -batch`. */
export const vpcRoute = `route add 10.0.0.0/8 via ${labAddresses.vpcRouter} dev eth0`;

/** Fixed, so that neighbours find a recreated gateway with the MAC in their cache. */
export const gatewayMacs = { eth0: "02:00:0a:00:01:fe", net1: "02:00:cb:00:71:fe" };

export function podAddress(number: number): string {
  return `10.0.1.${4 + number}`;
}

export function parseHostName(text: string): HostName | undefined {
  if (text === "outside" || text === "gw") return text;
  const number = podNumber(text);
  return number === undefined ? undefined : podName(number);
}

export class Lab {
  readonly name: string;
  readonly hosts: readonly HostName[];
  /** The namespace of the bridges. */
  readonly wire: string;

  /** `name` is a prefix of namespace names. Creates nothing yet. */
  constructor(name: string, podCount = 2) {
    this.name = name;
    this.wire = `${name}-wire`;
    this.hosts = ["outside", "gw", ...Array.from({ length: podCount }, (_, index) => podName(index + 1))];
  }

  namespaceOf(host: HostName): string {
    return `${this.name}-${host}`;
  }

  async up(): Promise<void> {
    const namespaces = this.hosts.map((host) => this.namespaceOf(host));
    await addNamespaces([this.wire, ...namespaces]);
    await Promise.all([this.wire, ...namespaces].map(withoutIpv6));
    await ipBatch(this.wire, [
      ...["br-out", "br-vpc"].flatMap((bridge) => [
        `link add ${bridge} type bridge mcast_snooping 0`,
        `link set ${bridge} up`,
      ]),
      ...this.hosts.flatMap((host) => this.#plugIn(host)),
    ]);
    await Promise.all(this.hosts.map((host) => this.#configure(host)));
    await this.#carrier();
  }

  async down(): Promise<void> {
    await deleteNamespaces([this.wire, ...this.hosts.map((host) => this.namespaceOf(host))]);
  }

  /** Kills the processes of the gateway and replaces its namespace by a new one, like a recreated pod. */
  async renewGateway(): Promise<void> {
    const namespace = this.namespaceOf("gw");
    await deleteNamespaces([namespace]);
    // The old namespace may outlive its name, but its cable ends must be gone.
    await until("the old gateway's cables to go", async () => !(await this.#ports()).includes("gw-vpc"));
    await addNamespaces([namespace]);
    await withoutIpv6(namespace);
    await ipBatch(this.wire, this.#plugIn("gw"));
    await this.#configure("gw");
    await this.#carrier();
  }

  async exec(host: HostName, argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return runIn(this.namespaceOf(host), argv, options);
  }

  /** Runs `ip` commands, one per line, on a host. */
  async ip(host: HostName, ...lines: readonly string[]): Promise<void> {
    await ipBatch(this.namespaceOf(host), lines);
  }

  #plugIn(host: HostName): readonly string[] {
    const namespace = this.namespaceOf(host);
    const cable = (nic: string, port: string, bridge: string) => [
      `link add ${port} type veth peer name ${nic} netns ${namespace}`,
      `link set ${port} master ${bridge} up`,
    ];
    if (host === "outside") return cable("eth0", "outside", "br-out");
    if (host !== "gw") return cable("eth0", host, "br-vpc");
    return [...cable("eth0", "gw-vpc", "br-vpc"), ...cable("net1", "gw-out", "br-out")];
  }

  async #configure(host: HostName): Promise<void> {
    const nic = (name: string, address: string) => [
      `address add ${address}/24 dev ${name}`,
      `link set ${name} up`,
    ];
    const lines =
      host === "gw"
        ? [
            ...Object.entries(gatewayMacs).map(([name, mac]) => `link set ${name} address ${mac}`),
            ...nic("eth0", labAddresses.vpc),
            ...nic("net1", labAddresses.external),
            // The VPC's other networks: addresses that objects name must be routed into the VPC.
            vpcRoute,
          ]
        : host === "outside"
          ? nic("eth0", labAddresses.outside)
          : [
              ...nic("eth0", podAddress(Number(host.slice("pod".length)))),
              `route add default via ${labAddresses.vpc}`,
            ];
    await this.ip(host, "link set lo up", ...lines);
  }

  /** A bridge port starts forwarding a moment after its link is up. Packets sent before are lost. */
  async #carrier(): Promise<void> {
    await until("every port of the lab's bridges to forward", async () => {
      const links = parseLinks(await runIn(this.wire, ["ip", "-d", "-j", "link", "show", "type", "veth"]));
      return links.every((link) => link.linkinfo?.info_slave_data?.state === "forwarding");
    });
  }

  async #ports(): Promise<readonly string[]> {
    const links = parseLinks(await runIn(this.wire, ["ip", "-j", "link", "show"]));
    return links.map((link) => link.ifname ?? "");
  }
}

/** The existing labs whose namespaces begin with `prefix`. */
export async function standingLabs(prefix: string): Promise<readonly Lab[]> {
  const podCounts = new Map<string, number>();
  for (const namespace of await listNamespaces()) {
    const cut = namespace.lastIndexOf("-");
    const name = namespace.slice(0, cut);
    if (!name.startsWith(prefix)) continue;
    const pod = podNumber(namespace.slice(cut + 1));
    podCounts.set(name, Math.max(pod ?? 0, podCounts.get(name) ?? 0));
  }
  return [...podCounts].map(([name, podCount]) => new Lab(name, podCount));
}

function podNumber(text: string): number | undefined {
  const number = /^pod([1-9][0-9]*)$/.exec(text)?.[1];
  return number === undefined ? undefined : Number(number);
}

function podName(number: number): HostName {
  return `pod${number}`;
}

/** IPv6 would send neighbour discovery and wait for duplicate address detection: noise in an IPv4 lab. */
export async function withoutIpv6(namespace: string): Promise<void> {
  const settings = ["all", "default"].map((scope) => `net.ipv6.conf.${scope}.disable_ipv6=1`);
  const sysctl = ["sysctl", "--quiet", "--ignore", "--write", ...settings, "net.ipv4.ip_forward=0"];
  await runIn(namespace, sysctl);
}

interface Link {
  readonly ifname?: string;
  readonly linkinfo?: { readonly info_slave_data?: { readonly state?: string } };
}

function parseLinks(json: string): readonly Link[] {
  return JSON.parse(json) as readonly Link[];
}
