/** Changes that other programs make in a namespace, and which of them the agent must leave alone. */
import type { TableName } from "../../../lib/iptables/rule.ts";
import type { ObservedRoute } from "../../../lib/model/observed.ts";
import { driftElements } from "./element-drift.ts";
import type { ModelKernel } from "./kernel.ts";
import type { Placed } from "./network.ts";
import type { Drift } from "./script.ts";
import { hosts, interfaces, ip, routeByHand } from "./universe.ts";

const ownedChains: Readonly<Record<TableName, readonly string[]>> = {
  nat: [
    "EXCLUSIVE_DNAT",
    "EXCLUSIVE_SNAT",
    "SHARED_DNAT",
    "SHARED_SNAT",
    "HAIRPIN_SNAT",
    "DNAT_FILTER",
    "SNAT_FILTER",
    "PREROUTING",
    "POSTROUTING",
  ],
  mangle: ["VPC_MARK", "PREROUTING"],
  filter: ["NATGW_GUARD", "NATGW_INPUT", "NATGW_FIPS", "NATGW_BACKENDS", "NATGW_CLIENTS", "NATGW_EIPS"],
};

const foreignRule: Readonly<Record<TableName, readonly [chain: string, rule: string]>> = {
  nat: ["POSTROUTING", "-d 192.0.2.1/32 -j RETURN"],
  mangle: ["FORWARD", "-d 192.0.2.2/32 -j RETURN"],
  filter: ["FORWARD", "-d 192.0.2.3/32 -j RETURN"],
};

/** An address on net1, of the agent or of the gateway itself. `self` is the gateway's initial one. */
const self: Placed = { interface: interfaces.external, address: ip(hosts.external), prefixLength: 24 };

/** No Route has its destination: one would replace it. */
const foreignRoute = routeByHand("10.9.0.0/16", "10.0.1.3", interfaces.vpc);
const foreignDefault = routeByHand("0.0.0.0/0", "203.0.113.99", interfaces.external);

/** The same as commands: lines for `iptables-restore --noflush`, or one for `ip -batch` or nft. */
export type Command =
  | { readonly tool: "restore"; readonly table: TableName; readonly lines: readonly string[] }
  | { readonly tool: "ip"; readonly line: string }
  | { readonly tool: "nft"; readonly line: string }
  | { readonly tool: "sysctl"; readonly setting: string };

export class Strangers {
  /** What other programs added and did not remove again. */
  readonly rules = new Set<TableName>();
  addresses: readonly Placed[] = [];
  routes: readonly ObservedRoute[] = [];
  isSelfThere = true;
  /** Called for every change. */
  onCommand: (command: Command) => void = () => {};
  readonly #kernel: ModelKernel;

  constructor(kernel: ModelKernel) {
    this.#kernel = kernel;
  }

  /** Which of it is no longer there, as text. */
  missed(): readonly string[] {
    const { tables, network } = this.#kernel;
    const { addresses, routes } = network.observe();
    const isThere = (table: TableName) => {
      const [chain, text] = foreignRule[table];
      return tables.rules(table, chain).some((rule) => rule.text === text);
    };
    return [
      ...[...this.rules].filter((table) => !isThere(table)).map((table) => `the foreign rule of ${table}`),
      ...[...this.addresses, ...(this.isSelfThere ? [self] : [])]
        .filter((placed) => !addresses.some((one) => isSamePlace(one, placed)))
        .map(({ address }) => `the foreign address ${address}`),
      ...this.routes
        .filter(
          (route) => !routes.some((one) => one.destination === route.destination && one.via === route.via),
        )
        .map(({ destination }) => `the foreign route to ${destination}`),
    ];
  }

  play(drift: Drift): void {
    const { tables, network, natTable } = this.#kernel;
    if (natTable !== undefined && driftElements(natTable, drift)) return;
    switch (drift.do) {
      case "delete rule":
        this.#deleteRule(drift.number);
        return;
      case "flush chain": {
        const chains = this.#ownedChains().filter(([, chain]) => !isBuiltIn(chain));
        const [table, chain] = chains[drift.number % chains.length] ?? ["nat", ""];
        if (chain !== "") this.#restore(table, `-F ${chain}`);
        return;
      }
      case "flush nat":
        this.rules.delete("nat");
        this.#restore("nat", ...tables.chains("nat").map((chain) => `-F ${chain}`));
        return;
      case "stray rule":
        this.#restore("nat", `-I ${drift.chain} 1 ${drift.rule}`);
        return;
      case "double hook": {
        const chain = drift.chain === "PREROUTING" ? "DNAT_FILTER" : "SNAT_FILTER";
        this.#restore("nat", `-A ${drift.chain} -j ${chain}`);
        return;
      }
      case "foreign rule": {
        const [chain, rule] = foreignRule[drift.table];
        if (this.rules.has(drift.table)) return;
        this.rules.add(drift.table);
        this.#restore(drift.table, `-I ${chain} 1 ${rule}`);
        return;
      }
      case "harm backends": {
        const line = this.#kernel.backends.harm(drift.harm, drift.number);
        if (line !== undefined) this.onCommand({ tool: "nft", line });
        return;
      }
      case "delete address": {
        const there = network.observe().addresses.filter((one) => one.interface === interfaces.external);
        const gone = there[drift.number % there.length];
        if (gone === undefined) return;
        network.removeAddress(gone);
        this.#ip(`address delete ${gone.address}/${gone.prefixLength} dev net1`);
        this.#recount();
        return;
      }
      case "foreign address": {
        const placed = {
          interface: interfaces.external,
          address: ip(drift.address),
          prefixLength: drift.prefixLength,
        };
        if (this.addresses.some(({ address }) => address === placed.address)) return;
        if (network.addAddress(placed) !== undefined) return;
        this.addresses = [...this.addresses, placed];
        this.#ip(`address add ${placed.address}/${placed.prefixLength} dev net1`);
        return;
      }
      case "self again":
        if (network.addAddress(self) !== undefined) return;
        this.isSelfThere = true;
        this.#ip(`address add ${self.address}/${self.prefixLength} dev net1`);
        return;
      case "delete default": {
        const standing = network.observe().routes.find(({ destination }) => destination === "0.0.0.0/0");
        if (standing !== undefined && network.removeRoute(standing) === undefined)
          this.#ip("route delete default");
        return;
      }
      case "foreign default":
        if (network.replaceRoute(foreignDefault) === undefined)
          this.#ip(`route replace default via ${foreignDefault.via} dev net1 proto 3`);
        return;
      case "foreign route":
        if (network.addRoute(foreignRoute) !== undefined) return;
        this.routes = [foreignRoute];
        this.#ip(`route add ${foreignRoute.destination} via ${foreignRoute.via} dev eth0 proto 3`);
        return;
      case "link":
        network.setLink(drift.name === "eth0" ? interfaces.vpc : interfaces.external, drift.isUp);
        this.#ip(`link set ${drift.name} ${drift.isUp ? "up" : "down"}`);
        this.#recount();
        return;
      case "forwarding off":
        network.setSysctl("net.ipv4.ip_forward", 0);
        this.onCommand({ tool: "sysctl", setting: "net.ipv4.ip_forward=0" });
        return;
      default:
        throw new Error(`no such drift: ${JSON.stringify(drift satisfies never)}`);
    }
  }

  #deleteRule(number: number): void {
    const rules = this.#ownedChains().flatMap(([table, chain]) =>
      this.#kernel.tables.rules(table, chain).map(({ text }) => ({ table, chain, text })),
    );
    const gone = rules[number % rules.length];
    if (gone === undefined) return;
    this.#restore(gone.table, `-D ${gone.chain} ${gone.text}`);
    if (foreignRule[gone.table][1] === gone.text) this.rules.delete(gone.table);
  }

  /** Things that were removed together with something else do not count as lost. */
  #recount(): void {
    const { addresses, routes } = this.#kernel.network.observe();
    this.addresses = this.addresses.filter((placed) => addresses.some((one) => isSamePlace(one, placed)));
    this.isSelfThere = addresses.some((one) => isSamePlace(one, self));
    this.routes = this.routes.filter((route) => routes.includes(route));
  }

  #ownedChains(): readonly (readonly [TableName, string])[] {
    const { tables } = this.#kernel;
    return (["nat", "mangle", "filter"] as const).flatMap((table) =>
      ownedChains[table]
        .filter((chain) => tables.chains(table).includes(chain))
        .map((chain) => [table, chain] as const),
    );
  }

  #restore(table: TableName, ...lines: readonly string[]): void {
    // If the kernel refuses the command, nothing changes.
    const { exitCode } = this.#kernel.tables.restore(`*${table}\n${lines.join("\n")}\nCOMMIT\n`);
    if (exitCode === 0) this.onCommand({ tool: "restore", table, lines });
  }

  #ip(line: string): void {
    this.onCommand({ tool: "ip", line });
  }
}

function isSamePlace(one: Placed, other: Placed): boolean {
  return (
    one.interface === other.interface &&
    one.address === other.address &&
    one.prefixLength === other.prefixLength
  );
}

function isBuiltIn(chain: string): boolean {
  return chain.endsWith("ROUTING");
}
