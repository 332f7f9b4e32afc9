/** Plays a scenario on a real gateway, and judges what it leaves. */
import { setTimeout as delay } from "node:timers/promises";
import type { WireWatch } from "../../faults/wire-watch.ts";
import type { Gateway } from "../gateway.ts";
import { labAddresses } from "../lab.ts";
import { pidsIn } from "../namespaces.ts";
import { callScript } from "../nat-gateway.ts";
import { until } from "../run.ts";
import { Controller, Violation } from "./controller.ts";
import { readKernel, uselessSnats } from "./kernel.ts";
import { interfacesOf, Reference } from "./reference.ts";
import { type Disturbance, everything, type Random, type Scenario } from "./scenario.ts";
import { Senders } from "./senders.ts";

/** As the image sets them. */
export const imageSettings = {
  GATEWAY_V4: labAddresses.outside,
  NATGW_ADOPT: "auto",
  NATGW_BFD_GATE: "on",
} as const;

const settleMs = 30_000;

export class Player {
  readonly #gw: Gateway;
  readonly #scenario: Scenario;
  readonly #random: Random;
  readonly #wire: WireWatch;
  readonly #history: string[] = [];
  #controller: Controller;
  #disturbances: readonly Disturbance[];
  #succeeded = 0;
  #isAgentAway = false;
  #isTranslating = false;
  /** EIPs of net1's subnet that the pod has. */
  readonly #held = new Set<string>();

  constructor(gw: Gateway, wire: WireWatch, scenario: Scenario, random: Random) {
    this.#gw = gw;
    this.#wire = wire;
    this.#scenario = scenario;
    this.#random = random;
    this.#controller = this.#newController();
    this.#disturbances = scenario.disturbances;
  }

  /** What was called and done, oldest first. */
  get history(): readonly string[] {
    return this.#history;
  }

  /** A new pod, all calls, and the judgement. Throws a {@link Violation}. */
  async play(): Promise<void> {
    await this.#newPod();
    const senders = new Senders(this.#gw.lab, ["pod1", "pod2"]);
    try {
      let controller: Controller;
      do {
        controller = this.#controller;
        await controller.run();
      } while (controller !== this.#controller);
      await this.#expectKernel("after the calls");
      await this.#gateOpens();
      expectNone("left untranslated", await this.#wire.leaks());
    } finally {
      senders.stop();
    }
    await this.#expectSettled();
    const before = await this.#readiness();
    await this.#loseStore();
    await this.#expectKernel("after the import");
    expectSame("readiness after the import", before, await this.#readiness());
  }

  /** Five seconds after the last call. Asked seldom, because many interleavings wait for it at once. */
  async #gateOpens(): Promise<void> {
    const isOpen = async () => (await this.#gw.api.status()).gate === "open";
    await until("the gate to open", async () => (await isOpen()) || delay(200, false), settleMs);
    await delay(100);
  }

  #newController(): Controller {
    return new Controller(
      this.#scenario,
      {
        call: async (args, killAfterMs) => {
          const result = await callScript(this.#gw, this.#scenario.form, args, {}, killAfterMs);
          const killed = killAfterMs === undefined ? "" : `, to be killed after ${killAfterMs} ms`;
          const { exitCode, stdout, stderr } = result;
          if (args[0] !== "get-iptables-version")
            this.#history.push(`${args.join(" ")}${killed}: ${exitCode} ${stdout} ${stderr}`);
          return result;
        },
        isExcused: () => this.#isAgentAway || !this.#controller.isInitialized,
        succeeded: async (args) => {
          this.#succeeded++;
          this.#noteEip(args);
          this.#isTranslating ||= args[0] === "snat-add" && args[1]?.includes(`,${everything},`) === true;
          if (this.#isTranslating && translating.has(args[0] ?? "")) await this.#expectTranslated(args);
          await this.#disturb();
        },
      },
      this.#random,
    );
  }

  #noteEip([operation, address = ""]: readonly string[]): void {
    if (!address.startsWith("203.0.113.")) return;
    if (operation === "eip-add") this.#held.add(address);
    if (operation === "eip-del") this.#held.delete(address);
  }

  /**
   * From now on each pod is translated, whatever gate and other calls do. Without an address on net1 there is no default
   * route, and nothing leaves until the next EIP is added, which may wait for this very call.
   */
  async #expectTranslated(args: readonly string[]): Promise<void> {
    if (this.#scenario.pod === "noDefaultEIP" && this.#held.size === 0) return;
    const before = await this.#wire.translated();
    const isMore = async () => (await this.#wire.translated()) > before;
    await until(`a packet to leave translated after ${args.join(" ")}`, isMore, settleMs);
  }

  async #disturb(): Promise<void> {
    const [next, ...others] = this.#disturbances;
    if (next === undefined || next.afterCalls > this.#succeeded || this.#isAgentAway) return;
    this.#disturbances = others;
    this.#history.push(next.what);
    this.#isAgentAway = true;
    if (next.what === "crash") await this.#gw.agent.kill();
    else if (next.what === "restart") {
      // With its container everything in it ends. The namespace stays.
      await this.#gw.agent.kill();
      for (const pid of await pidsIn(this.#gw.lab.namespaceOf("gw"))) killIfAlive(pid);
      await this.#gw.loseState();
    } else {
      this.#controller.abandon();
      this.#controller = this.#newController();
      await this.#newPod();
      this.#isAgentAway = false;
      return;
    }
    await this.#gw.startAgent(imageSettings).whenReady();
    this.#isAgentAway = false;
    if (this.#isTranslating) await this.#expectTranslated([next.what]);
  }

  /** The agent of a new pod may come after the first calls. */
  async #newPod(): Promise<void> {
    const { lab } = this.#gw;
    this.#isTranslating = false;
    this.#held.clear();
    const { pod } = this.#scenario;
    const { vpc, external } = interfacesOf(pod);
    if (this.#gw.isAgentStarted) await this.#gw.agent.kill();
    // A namespace that ends loses its rules before its links.
    await this.#wire.unplug();
    await lab.renewGateway();
    await this.#gw.loseState();
    await lab.ip(
      "gw",
      ...(pod === "noDefaultEIP"
        ? ["address flush dev net1", `route add default via ${labAddresses.vpcRouter} dev eth0`]
        : [`route add default via ${labAddresses.outside} dev net1`]),
    );
    if (pod === "other interfaces") await rename(this.#gw, { eth0: vpc, net1: external });
    await this.#gw.startAgent(imageSettings).whenReady();
  }

  /** A pass and a second one: nothing is left to do. */
  async #expectSettled(): Promise<void> {
    const { api } = this.#gw;
    await until("an empty plan", async () => (await api.plan()).changes.length === 0, settleMs);
    const watch = await this.#gw.watch();
    const { changed, failed } = await api.reconcile();
    expectSame("a further pass", { changed: 0, failed: [] }, { changed, failed });
    expectNone("writes of a further pass", await watch.stop());
  }

  /** The container ends, and its state with it. The kernel stays. */
  async #loseStore(): Promise<void> {
    await this.#gw.agent.stop();
    await this.#gw.loseState();
    const [watch, queues] = [await this.#gw.watch(), await this.#gw.queues()];
    await this.#gw.startAgent(imageSettings).whenReady();
    const { degraded } = await this.#gw.api.status();
    await this.#gw.api.reconcile();
    expectNone("writes of the import", await watch.stop());
    expectSame("qdiscs and classes after the import", queues, await this.#gw.queues());
    expectNone(
      "degraded after the import",
      degraded.map(({ reason, message }) => `${reason}: ${message}`),
    );
  }

  async #expectKernel(when: string): Promise<void> {
    const all = Reference.of(this.#scenario).lines(this.#scenario.pod);
    const reference = this.#gw.dataplane === "nftables" ? all.filter((line) => !isRule(line)) : all;
    const lines = await readKernel(this.#gw);
    const differences = [
      ...without(reference, lines).map((line) => `missing: ${line}`),
      ...without(lines, reference).map((line) => `too much: ${line}`),
    ];
    expectNone(`the kernel ${when}`, differences);
    expectNone("SNATs behind wider ones", await uselessSnats(this.#gw));
  }

  /** Everything is Ready but DNATs that a FIP shadows. Whether limits are depends on the kernel. */
  async #readiness(): Promise<readonly string[]> {
    const { shadowed } = Reference.of(this.#scenario);
    const all: string[] = [];
    for (const kind of ["eips", "fips", "snats", "dnats", "routes", "limits"]) {
      const { body } = await this.#gw.api.call<{ readonly items: readonly Item[] }>("GET", `/v1/${kind}`);
      for (const { name, status } of body.items) {
        const reason = status.conditions.find(({ type }) => type === "Ready")?.reason;
        const isShadowed = kind === "dnats" && shadowed.includes(name);
        const isAsExpected = isShadowed ? reason === "Shadowed" : status.ready;
        if (!isAsExpected && reason !== "NotSupported")
          throw new Violation(`${kind}/${name} is not Ready: ${JSON.stringify(status.conditions)}`);
        if (reason !== "NotSupported") all.push(`${kind}/${name} ${reason}`);
      }
    }
    return all.sort();
  }
}

/** Operations that translate something more. */
const translating = new Set(["snat-add", "floating-ip-add"]);

/** True for what the nftables dataplane has in another form. */
function isRule(line: string): boolean {
  return /^(?:nat|mangle|fip-in|fip-out|dnat|snat|hairpin|shared) /.test(line);
}

interface Item {
  readonly name: string;
  readonly status: {
    readonly ready: boolean;
    readonly conditions: readonly { readonly type: string; readonly reason: string }[];
  };
}

async function rename({ lab }: Gateway, names: Readonly<Record<string, string>>): Promise<void> {
  const routes = (await lab.exec("gw", ["ip", "-4", "route", "show"])).split("\n");
  await lab.ip(
    "gw",
    ...Object.entries(names).flatMap(([before, after]) => [
      `link set ${before} down`,
      `link set ${before} name ${after}`,
      `link set ${after} up`,
    ]),
    // A link that goes down loses them.
    ...routes
      .filter((route) => route.includes(" via "))
      .map((route) => `route add ${route.replace(/dev (\S+)/, (_, name: string) => `dev ${names[name]}`)}`),
  );
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

function expectSame(what: string, expected: unknown, found: unknown): void {
  const [one, other] = [JSON.stringify(expected), JSON.stringify(found)];
  if (one !== other) throw new Violation(`${what}: expected ${one}, found ${other}`);
}

function expectNone(what: string, lines: readonly string[]): void {
  if (lines.length > 0) throw new Violation([`${what}:`, ...lines].join("\n"));
}

/** The lines that `others` lacks. A line that is there twice must be there twice. */
function without(lines: readonly string[], others: readonly string[]): readonly string[] {
  const rest = [...others];
  return lines.filter((line) => {
    const at = rest.indexOf(line);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}
