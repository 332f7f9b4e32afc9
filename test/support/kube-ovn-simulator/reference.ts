/**
 * What the calls of a controller mean: addresses, rules and routes, as Kube-OVN's operations describe them. Imports
 * nothing of the agent.
 */
import { fixedRules } from "../fixed-rules.ts";
import { labAddresses, vpcRoute } from "../lab.ts";
import type { Call, Pod, Scenario } from "./scenario.ts";

export interface Interfaces {
  readonly vpc: string;
  readonly external: string;
}

export function interfacesOf(pod: Pod): Interfaces {
  return pod === "other interfaces" ? { vpc: "vpc0", external: "ext0" } : { vpc: "eth0", external: "net1" };
}

export class Reference {
  /** Prefix length by IP. */
  readonly #eips = new Map<string, string>();
  readonly #fips = new Map<string, string>();
  /** `eip,cidr` to the options of the rule. */
  readonly #snats = new Map<string, string>();
  /** `eip protocol port` to a target. */
  readonly #dnats = new Map<string, string>();
  /** The same to targets. */
  readonly #shared = new Map<string, { readonly targets: readonly string[]; readonly isSticky: boolean }>();
  /** Next hop by destination. */
  readonly #routes = new Map<string, string>();
  /** `eip ip direction` or `all direction` or `peer direction`, to its rate and priority. */
  readonly #limits = new Map<string, Limited>();

  /** All calls of a scenario. Calls of different items do not depend on each other. */
  static of(scenario: Scenario): Reference {
    const reference = new Reference();
    for (const { items } of scenario.queues) for (const call of items.flat()) reference.#apply(call);
    return reference;
  }

  /** Lines of `kernel.ts`. */
  lines(pod: Pod): readonly string[] {
    const { vpc, external } = interfacesOf(pod);
    const own = pod === "noDefaultEIP" ? [] : [`address ${labAddresses.external}/24 ${external}`];
    return [
      ...fixedRules(vpc),
      `address ${labAddresses.vpc}/24 ${vpc}`,
      ...own,
      ...Array.from(this.#eips, ([ip, length]) => `address ${ip}/${length} ${external}`),
      ...Array.from(this.#eips.keys(), (ip) => `hairpin ${ip} ${vpc}`),
      ...Array.from(this.#fips).flatMap(([eip, ip]) => [`fip-in ${eip} ${ip}`, `fip-out ${ip} ${eip}`]),
      ...Array.from(this.#snats, ([rule, options]) => `snat ${rule} ${external}${options}`),
      ...Array.from(this.#dnats, ([service, target]) => `dnat ${service} ${target}`),
      ...Array.from(
        this.#shared,
        ([service, { targets, isSticky }]) =>
          `shared ${service} ${targets.join()}${isSticky ? " by client" : ""}`,
      ),
      ...Array.from(this.#routes, ([cidr, via]) => `route ${cidr} ${via} ${vpc} 196`),
      ...Array.from(this.#limits, ([what, one]) => limitLine(what, one, { vpc, external })),
      ...(this.#eips.size > 0 || own.length > 0
        ? [`route default ${labAddresses.outside} ${external} 196`]
        : []),
      `route ${vpcRoute.split(" ")[2]} ${labAddresses.vpcRouter} ${vpc} boot`,
      "forwarding 1",
    ];
  }

  /** DNATs whose EIP has a FIP, which gets their packets. By name. */
  get shadowed(): readonly string[] {
    return [...this.#dnats.keys(), ...this.#shared.keys()]
      .filter((service) => this.#fips.has(service.split(" ")[0] ?? ""))
      .map((service) => service.replaceAll(" ", "-"));
  }

  #apply({ args: [operation = "", ...rules] }: Call): void {
    for (const rule of rules) this.#applyRule(operation, rule);
  }

  #applyRule(operation: string, rule: string): void {
    const fields = rule.split(",");
    const [first = "", second = "", third = "", ...rest] = fields;
    const service = `${first} ${third.toLowerCase()} ${second}`;
    const [, direction, verb] = /^eip-(\w+)-qos-(add|del)$/.exec(operation) ?? [];
    const key = `eip ${first} ${direction}`;
    if (verb === "add") this.#limits.set(key, { rate: third, priority: second });
    else if (verb === "del") this.#limits.delete(key);
    else if (operation.startsWith("qos-")) this.#applyDeviceLimit(operation, fields);
    else
      switch (operation) {
        case "eip-add": {
          const [ip = "", length = ""] = rule.split("/");
          this.#eips.set(ip, length);
          break;
        }
        case "eip-del":
          this.#eips.delete(rule.split("/")[0] ?? "");
          break;
        case "floating-ip-add":
          this.#fips.set(first, second);
          break;
        case "floating-ip-del":
          this.#fips.delete(first);
          break;
        case "snat-add":
          this.#snats.set(`${first} ${canonical(second)}`, third === "" ? "" : ` ${third}`);
          break;
        case "snat-del":
          this.#snats.delete(`${first} ${canonical(second)}`);
          break;
        case "dnat-add":
          this.#dnats.set(service, rest.join(":"));
          break;
        case "dnat-del":
          this.#dnats.delete(service);
          break;
        case "nft-dnat-map-add":
          this.#shared.set(service, {
            targets: (rest.at(-1) ?? "").split("@").sort(),
            isSticky: rest[0] === "clientip",
          });
          break;
        case "nft-dnat-map-del":
          this.#shared.delete(service);
          break;
        case "subnet-route-add":
          this.#routes.set(first, second);
          break;
        case "subnet-route-del":
          this.#routes.delete(first);
          break;
        case "init":
          break;
        default:
          throw new Error(`the reference does not know ${operation}`);
      }
  }

  /** The nine fields of `qos-add`. */
  #applyDeviceLimit(operation: string, fields: readonly string[]): void {
    const [direction = "", , priority = "", , , side = "", cidr = "", rate = ""] = fields;
    const device = deviceOf(direction, fields[1] ?? "");
    const key = `${device} ${cidr === "" ? "all" : `${side} ${cidr}`} ${direction}`;
    if (operation === "qos-add") this.#limits.set(key, { rate, priority });
    else this.#limits.delete(key);
  }
}

interface Limited {
  /** In Mbit/s. */
  readonly rate: string;
  readonly priority: string;
}

/** Without a device: egress on the external, ingress on the VPC interface. */
function deviceOf(direction: string, device: string): "vpc" | "external" {
  return device === "" && direction === "ingress" ? "vpc" : "external";
}

/** `limit out net1 in - src 203.0.113.10 rate 2500000 priority 1`: where it is enforced, and whose packets. */
function limitLine(what: string, { rate, priority }: Limited, { vpc, external }: Interfaces): string {
  const [kind, ...rest] = what.split(" ");
  const direction = rest.at(-1);
  const at = kind === "vpc" ? vpc : external;
  const other = at === vpc ? external : vpc;
  const way = direction === "egress" ? `out ${at} in -` : `out ${other} in ${at}`;
  const match =
    kind === "eip"
      ? `${direction === "egress" ? "src" : "dst"} ${rest[0]}`
      : rest.length === 2
        ? "all"
        : `${rest[0]} ${rest[1]}`;
  return `limit ${way} ${match} rate ${Math.round(Number(rate) * 1_000_000)} priority ${priority}`;
}

function canonical(cidr: string): string {
  return cidr.includes("/") ? cidr : `${cidr}/32`;
}
