/**
 * Plays a script on the real agent with a real kernel, in step with the model. The model gives the commands of other
 * programs.
 */

import { assertNever } from "../../../lib/assert-never.ts";
import { parseRule } from "../../../lib/iptables/parse-rule.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import { collectionOf } from "../../../lib/model/names.ts";
import type { Reply } from "../api-client.ts";
import type { DataplaneName, Gateway } from "../gateway.ts";
import { until } from "../run.ts";
import type { Command } from "./drift.ts";
import { Player } from "./player.ts";
import type { Step, Write } from "./script.ts";
import type { ModelDataplane } from "./tables.ts";
import { interfaces } from "./universe.ts";
import { batchBody, byCollection } from "./writer.ts";

const pass: Step = { do: "pass", isResync: true, during: [] };

/** What a kernel holds, in a form common to both kernels. */
export interface Holding {
  /** Of the table of backends. */
  readonly backends: readonly string[];
  readonly rules: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
  readonly isForwarding: boolean;
}

export class LabPlayer {
  readonly model: Player;
  /** Writes that were answered differently from the model. */
  readonly disagreements: string[] = [];
  readonly #gateway: Gateway;
  #generation = 0;
  #commands: Command[] = [];

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.model = new Player(modelled[gateway.dataplane]);
  }

  async play(script: readonly Step[]): Promise<void> {
    await this.model.play([pass, pass]);
    for (const step of script) {
      this.model.strangers.onCommand = (command) => this.#commands.push(command);
      // Twice: new addresses are probed first.
      await this.model.play([step, pass, pass]);
      await this.#real(step);
    }
  }

  /** Lets both become idle. */
  async settle(): Promise<void> {
    if (!this.model.disk.state.isSet) await this.#write({ do: "set", objects: [] });
    await this.model.settle();
    await this.#gateway.lab.ip("gw", "link set eth0 up", "link set net1 up");
    await until("the agent to plan no more than its model", async () => {
      await this.#gateway.api.reconcile();
      return (await this.#gateway.api.plan()).changes.length === this.#refused();
    });
  }

  async #real(step: Step): Promise<void> {
    const { lab } = this.#gateway;
    switch (step.do) {
      case "put":
      case "remove":
      case "batch":
      case "set":
      case "renew leases": {
        const { lastRefusal } = this.model;
        const code = await this.#write(step);
        if (code !== lastRefusal)
          this.disagreements.push(`${JSON.stringify(step)}: ${code}, not ${lastRefusal}`);
        break;
      }
      case "kill":
        await this.#restart(async () => {});
        return;
      case "renew":
        await this.#restart(() => lab.renewGateway());
        return;
      case "lose state":
        await this.#restart(() => this.#gateway.loseState());
        return;
      default:
        for (const command of this.#commands.splice(0)) await this.#type(command);
    }
    await this.#passTwice();
  }

  async #restart(meanwhile: () => Promise<void>): Promise<void> {
    await this.#gateway.agent.kill();
    await meanwhile();
    await this.#gateway.startAgent().whenLive();
    await this.#passTwice();
  }

  /** Like the model. The result of a probe, which wakes a pass by itself, has arrived by then. */
  async #passTwice(): Promise<void> {
    await this.#gateway.api.reconcile();
    await this.#gateway.api.reconcile();
  }

  /** @returns the code of the refusal, if any */
  async #write(write: Write): Promise<string | undefined> {
    const { body } = await this.#request(write);
    return typeof body === "object" && body !== null && "code" in body ? String(body.code) : undefined;
  }

  #request(write: Write): Promise<Reply<unknown>> {
    const { api } = this.#gateway;
    switch (write.do) {
      case "put":
        return api.put(`${collectionOf(write.kind)}/${write.spec.name}`, write.spec, "");
      case "remove": {
        const query = write.kind === "eip" ? "?cascade=true" : "";
        return api.delete(`${collectionOf(write.kind)}/${write.name}`, query);
      }
      case "batch":
        return api.call("POST", "/v1/batch", batchBody(write));
      case "set":
        return api.putSet({ generation: ++this.#generation, ...byCollection(write.objects) }, "");
      case "renew leases":
        return api.call("POST", "/v1/leases/renew", { eips: write.names });
      default:
        return assertNever(write);
    }
  }

  async #type(command: Command): Promise<void> {
    const { lab } = this.#gateway;
    if (command.tool === "ip") await lab.ip("gw", command.line);
    else if (command.tool === "nft") await lab.exec("gw", ["nft", command.line]);
    else if (command.tool === "sysctl") await lab.exec("gw", ["sysctl", "-q", "-w", command.setting]);
    else await this.#gateway.restore(`*${command.table}`, ...command.lines, "COMMIT");
  }

  /** Number of changes that the kernel always refuses, as in the model. */
  #refused(): number {
    return this.model.agent.findings?.planAfter.changes.length ?? 0;
  }

  /** The kernel in memory. */
  modelHolding(): Holding {
    const { tables, network, backends } = this.model.kernel;
    const { addresses, routes } = network.observe();
    const { elements, chains } = backends.read();
    return {
      backends: [
        ...Array.from(elements, ([key, verdict]) => `${key} : ${verdict}`),
        ...Array.from(chains, ([name, text]) => `${name} ${text}`),
      ].sort(),
      rules: this.#tables
        .flatMap((table) =>
          tables
            .chains(table)
            .flatMap((chain) => tables.rules(table, chain).map(({ text }) => `${table} ${chain} ${text}`)),
        )
        .sort(),
      addresses: addresses
        .filter((one) => one.interface === interfaces.external)
        .map(({ address, prefixLength }) => `${address}/${prefixLength}`)
        .sort(),
      routes: routes
        .filter(({ protocol }) => protocol !== 2)
        .map(({ destination, via, interface: nic, protocol }) => `${destination} ${via} ${nic} ${protocol}`)
        .sort(),
      isForwarding: network.isForwarding(interfaces.vpc) && network.isForwarding(interfaces.external),
    };
  }

  /** The kernel of the lab. */
  async realHolding(): Promise<Holding> {
    const { lab } = this.#gateway;
    const rules: string[] = [];
    for (const table of this.#tables) {
      for (const line of await this.#gateway.rules(table)) {
        const [, chain = "", text = ""] = /^-A (\S+) (.*)$/.exec(line) ?? [];
        rules.push(`${table} ${chain} ${parseRule(text, ipv4).text}`);
      }
    }
    const routes = JSON.parse(
      await lab.exec("gw", ["ip", "-j", "-N", "route", "show"]),
    ) as readonly RouteLine[];
    const forwarding = await lab.exec("gw", [
      "sysctl",
      "-n",
      "net.ipv4.conf.eth0.forwarding",
      "net.ipv4.conf.net1.forwarding",
    ]);
    return {
      backends: [...(await this.#realBackends())].sort(),
      rules: rules.sort(),
      addresses: [...(await this.#gateway.addresses("net1"))].sort(),
      routes: routes
        .filter(({ protocol }) => protocol !== "2")
        .map(
          ({ dst, gateway, dev, protocol }) =>
            `${dst === "default" ? "0.0.0.0/0" : dst} ${gateway} ${dev} ${protocol ?? 3}`,
        )
        .sort(),
      isForwarding: forwarding === "1\n1\n",
    };
  }

  /** The elements and chains of the table of backends, as nft lists them. */
  async #realBackends(): Promise<readonly string[]> {
    if (this.#gateway.dataplane === "nftables") return [];
    const text = await this.#gateway.lab.exec("gw", ["nft", "list", "table", "ip", "kube-ovn"]);
    const [, list = ""] = /elements = \{([^}]*)\}/.exec(text) ?? [];
    const elements = list.split(",").map((element) => element.trim());
    const chains = text.matchAll(/\tchain (dnat-\S+) \{\n(.*?)\t\}/gs);
    return [
      ...elements.filter((element) => element !== ""),
      ...Array.from(chains, ([, name = "", rules = ""]) => `${name} ${rules.trim()}`),
    ];
  }

  /** The tables of iptables to compare. */
  get #tables(): readonly TableName[] {
    return comparedTables[this.#gateway.dataplane];
  }
}

const modelled = {
  "iptables-nft": "nft",
  "iptables-legacy": "legacy",
  nftables: "nftables",
} as const satisfies Record<DataplaneName, ModelDataplane>;

const comparedTables: Readonly<Record<DataplaneName, readonly TableName[]>> = {
  // Rules of other programs in filter are neither read nor changed.
  "iptables-nft": ["nat", "mangle"],
  "iptables-legacy": ["nat", "mangle", "filter"],
  nftables: [],
};

interface RouteLine {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
  /** Absent: protocol `boot`, number 3. */
  readonly protocol?: string;
}
