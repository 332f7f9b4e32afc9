/** What a random set must be in the kernel, as plain lines, and whether each object is Ready. Imports nothing of the agent. */
import { labAddresses, vpcRoute } from "../lab.ts";
import {
  backendsOf,
  clashesOf,
  ipOf,
  isIn,
  type Kind,
  kinds,
  numberOf,
  rangeOf,
  type Spec,
  textOfNumber,
} from "./clashes.ts";
import type { Model, Window } from "./model.ts";

export type Binding = "address" | "route";

/** What others put into the gateway before the agent, and what nobody may touch. Routes of eth0 go with it. */
export const planted = {
  address: "203.0.113.200/24",
  route: "route add 172.16.0.0/12 via 10.0.1.1 dev eth0",
  natDestination: "192.0.2.77",
} as const;
export const vpcRoutes: readonly string[] = [vpcRoute, planted.route];

/** The clients that SNATs may have. Every rule of an SNAT must decide about some of them. */
export const networks = ["10.0.1.0/24", "10.0.1.64/26", "10.0.2.0/25", "10.0.1.9/32", "10.3.0.4/30"] as const;
export const clients: readonly string[] = [
  ...new Set(
    networks.flatMap((cidr) => {
      const [first, last] = rangeOf(cidr);
      return Array.from({ length: last - first + 1 }, (_, index) => textOfNumber(first + index));
    }),
  ),
];

export interface Readiness {
  readonly isReady: boolean;
  readonly reason: string;
}

/** What a stored set means now: no lease may be about to expire. */
export class Expectation {
  readonly #model: Model;
  readonly #clashes: ReadonlySet<string>;
  readonly #expired: ReadonlySet<string>;
  /** Address by name, of the Eips that rules may name. */
  readonly #ruled = new Map<string, string>();
  readonly #live: Readonly<Record<"fip" | "snat" | "dnat", readonly Spec[]>>;

  constructor(model: Model, window: Window) {
    this.#model = model;
    this.#clashes = clashesOf(model);
    const eips = model.byAge("eip");
    this.#expired = new Set(
      eips.flatMap(({ name }) => (model.isExpired(name, window) === true ? [name] : [])),
    );
    for (const spec of this.#accepted("eip"))
      if (!this.#expired.has(spec.name)) this.#ruled.set(spec.name, ipOf(spec));
    const live = (kind: Kind) => this.#accepted(kind).filter(({ eip }) => this.#ruled.has(String(eip)));
    this.#live = { fip: live("fip"), snat: live("snat"), dnat: live("dnat") };
  }

  /** The addresses that the guard names. */
  get ruled(): readonly string[] {
    return [...this.#ruled.values()];
  }

  translations(): readonly string[] {
    const lines = this.#held.map((spec) => `hairpin ${ipOf(spec)}`);
    const outward = new Set<unknown>();
    for (const { eip, internalIp } of this.#live.fip) {
      lines.push(`fip-in ${this.#ipOf(eip)} ${internalIp}`);
      if (!outward.has(internalIp)) lines.push(`fip-out ${internalIp} ${this.#ipOf(eip)}`);
      outward.add(internalIp);
    }
    for (const spec of this.#live.dnat)
      for (const { ip, port } of backendsOf(spec))
        lines.push(`dnat ${this.#ipOf(spec.eip)} ${spec.protocol} ${spec.externalPort} ${ip}:${port}`);
    for (const client of clients) {
      const member = this.#memberFor(client);
      if (member !== undefined)
        lines.push(`snat ${client} ${this.#ipOf(member.eip)} ${member.mapping ?? "random"}`);
    }
    return lines;
  }

  /** The Eips that are bound. Only they have hairpin rules. */
  get #held(): readonly Spec[] {
    return this.#accepted("eip").filter(({ name, bound }) => this.#ruled.has(name) && bound !== false);
  }

  network(binding: Binding): readonly string[] {
    const gateway = this.#model.defaultGateway;
    return [
      `address ${labAddresses.vpc}/24 eth0`,
      ...[`${labAddresses.external}/24`, planted.address].map((address) => `address ${address} net1`),
      ...this.#held.map((spec) =>
        binding === "address" ? `address ${spec.address} net1` : `local ${ipOf(spec)} net1`,
      ),
      "route 10.0.1.0/24 - eth0 kernel",
      "route 203.0.113.0/24 - net1 kernel",
      ...vpcRoutes.map((line) => {
        const [, , destination, , via] = line.split(" ");
        return `route ${destination} ${via} eth0 boot`;
      }),
      `route default ${gateway} net1 196`,
      ...this.#accepted("route").map(
        ({ destination, via, interface: nic }) =>
          `route ${destination} ${via} ${nic === "external" ? "net1" : "eth0"} 196`,
      ),
      "forwarding 1",
    ];
  }

  /** What comes in by net1 is shaped where it leaves: on eth0. */
  limits(): readonly string[] {
    return this.#accepted("limit")
      .filter(({ eip }) => this.#ruled.has(String(eip)))
      .map(({ direction, rateMbit }) => `limit ${direction === "egress" ? "net1" : "eth0"} ${rateMbit}Mbit`);
  }

  /** The numbers of backends of DNATs with a list, with and without affinity: nftables has a rule for each. */
  get backendCounts(): number {
    const lists = this.#live.dnat.filter((spec) => Array.isArray(spec.backends) && spec.backends.length > 0);
    return new Set(lists.map((spec) => `${backendsOf(spec).length} ${spec.sessionAffinity ?? ""}`)).size;
  }

  readiness(): ReadonlyMap<string, Readiness> {
    const all = new Map<string, Readiness>();
    for (const kind of kinds)
      for (const spec of this.#model.byAge(kind)) {
        const reason = this.#reason(kind, spec);
        all.set(`${kind}s/${spec.name}`, {
          isReady: ["Ready", "Standby", "NoBackends"].includes(reason),
          reason,
        });
      }
    return all;
  }

  #reason(kind: Kind, spec: Spec): string {
    if (this.#clashes.has(`${kind}s/${spec.name}`)) return "Conflict";
    if (kind === "route") return "Ready";
    if (kind === "eip") return this.#eipReason(spec);
    const eip = this.#model.of("eip").get(String(spec.eip))?.spec;
    if (eip === undefined) return "EipNotFound";
    if (this.#clashes.has(`eips/${eip.name}`)) return "EipNotReady";
    if (this.#expired.has(eip.name)) return "LeaseExpired";
    if (kind === "dnat" && this.#live.fip.some((fip) => fip.eip === spec.eip)) return "Shadowed";
    if (eip.bound === false) return "EipNotReady";
    if (kind === "snat" && this.#isStandby(spec)) return "Standby";
    return kind === "dnat" && backendsOf(spec).length === 0 ? "NoBackends" : "Ready";
  }

  #eipReason({ name, bound }: Spec): string {
    if (this.#expired.has(name)) return "LeaseExpired";
    return bound === false ? "Unbound" : "Ready";
  }

  #accepted(kind: Kind): readonly Spec[] {
    return this.#model.byAge(kind).filter(({ name }) => !this.#clashes.has(`${kind}s/${name}`));
  }

  #ipOf(eip: unknown): string {
    return this.#ruled.get(String(eip)) ?? "?";
  }

  #isStandby({ name, internalCIDR }: Spec): boolean {
    const place = this.#pool(internalCIDR).findIndex((member) => member.name === name);
    return place >= bucketsOf(String(internalCIDR));
  }

  #pool(cidr: unknown): readonly Spec[] {
    return this.#live.snat.filter(({ internalCIDR }) => internalCIDR === cidr);
  }

  /** The pool with the longest prefix takes the client; its members share 16 buckets. */
  #memberFor(client: string): Spec | undefined {
    const cidrs = new Set(this.#live.snat.map(({ internalCIDR }) => String(internalCIDR)));
    const [longest] = [...cidrs]
      .filter((cidr) => isIn(client, cidr))
      .toSorted((a, b) => lengthOf(b) - lengthOf(a));
    if (longest === undefined) return undefined;
    const members = this.#pool(longest).slice(0, bucketsOf(longest));
    return members[members.length === 1 ? 0 : (numberOf(client) % bucketsOf(longest)) % members.length];
  }
}

function lengthOf(cidr: string): number {
  return Number(cidr.split("/")[1]);
}

/** A random set has fewer than 16 SNATs. */
function bucketsOf(cidr: string): number {
  return Math.min(16, 2 ** (32 - lengthOf(cidr)));
}
