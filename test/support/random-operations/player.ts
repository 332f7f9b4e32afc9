/** Plays random operations on a gateway and compares each answer, the stored set, and the kernel with the model. */
import { setTimeout as delay } from "node:timers/promises";
import type { Gateway } from "../gateway.ts";
import { until } from "../run.ts";
import { Correspondent, differenceOf, expectSame, storedOf, Violation } from "./answers.ts";
import { type Kind, kinds } from "./clashes.ts";
import { damage, outage, pick, plantForeign } from "./damages.ts";
import { type Binding, Expectation, planted } from "./expectation.ts";
import { fixedLines, guardedEips } from "./fixed-lines.ts";
import { readLimits, readNetwork, readTranslations } from "./kernel.ts";
import { Model, type Window, type Write } from "./model.ts";
import { type Operation, type Random, Script } from "./script.ts";

const convergenceMs = 60_000;

interface Item {
  readonly name: string;
  readonly status: {
    readonly ready: boolean;
    readonly conditions: readonly { readonly type: string; readonly reason: string }[];
  };
}

export class Player {
  readonly #gw: Gateway;
  readonly #binding: Binding;
  readonly #random: Random;
  readonly #script: Script;
  readonly #model = new Model();
  readonly #answers: Correspondent;
  readonly #counts = new Map<string, number>();
  #foreign: () => Promise<readonly string[]> = async () => [];
  #foreignBefore: readonly string[] = [];

  constructor(gw: Gateway, binding: Binding, random: Random) {
    this.#gw = gw;
    this.#binding = binding;
    this.#random = random;
    this.#script = new Script(random, this.#model);
    this.#answers = new Correspondent(
      this.#model,
      () => gw.api,
      () => performance.now(),
    );
  }

  /** How often each operation was played. */
  get counts(): string {
    return Array.from(this.#counts, ([what, count]) => `${count} ${what}`).join(", ");
  }

  /** Plants what is foreign, starts the agent, and stores a first full set. */
  async begin(): Promise<void> {
    this.#foreign = await plantForeign(this.#gw, planted.address);
    this.#foreignBefore = await this.#foreign();
    await this.#gw.startAgent().whenReady();
    await this.play(this.#script.firstSet());
  }

  next(): Operation {
    return this.#script.next();
  }

  /** @returns what was done, for the history */
  async play(operation: Operation): Promise<string> {
    this.#counts.set(operation.do, (this.#counts.get(operation.do) ?? 0) + 1);
    switch (operation.do) {
      case "invalid":
        await this.#answers.sendInvalid(operation);
        return "";
      case "kill":
      case "stop":
        if (operation.do === "kill") await this.#gw.agent.kill();
        else expectSame("the exit code", 0, await this.#gw.agent.stop());
        await this.#restart();
        return "";
      case "cut off":
        return this.#cutOff(operation.write);
      case "damage":
        return damage(this.#gw, this.#random);
      case "outage":
        return this.#outage();
      case "expire":
        await this.#settleLeases();
        return "";
      default:
        await this.#answers.write(operation);
        return "";
    }
  }

  /** Waits until the gateway has converged, and compares everything. */
  async check(): Promise<void> {
    await this.#settleLeases();
    const { api } = this.#gw;
    await until(
      "an empty plan after a pass",
      async () => {
        await api.reconcile();
        return (await api.plan()).changes.length === 0;
      },
      convergenceMs,
    );
    const expectation = new Expectation(this.#model, now());
    const [network, translations, limits, foreign, guarded] = await Promise.all([
      readNetwork(this.#gw),
      readTranslations(this.#gw),
      readLimits(this.#gw),
      this.#foreign(),
      guardedEips(this.#gw),
    ]);
    const fixed = fixedLines(this.#gw.dataplane, expectation.backendCounts);
    const differences = [
      differenceOf("addresses and routes", expectation.network(this.#binding), network),
      differenceOf("rules", [...fixed, ...expectation.translations()], translations),
      differenceOf("limits", expectation.limits(), limits),
      differenceOf("what is foreign", this.#foreignBefore, foreign),
      differenceOf("guarded EIPs", expectation.ruled, guarded),
      differenceOf("Ready", readinessInWords(expectation), await this.#readiness()),
    ].filter((difference) => difference !== undefined);
    if (differences.length > 0) throw new Violation(differences.join("\n"));
    const { changed, failed } = await api.reconcile();
    expectSame("a second pass", { changed: 0, failed: [] }, { changed, failed });
    await this.#answers.expectStored();
  }

  /** Kills the agent during a write: it is stored entirely or not at all, and if it was acknowledged, it is. */
  async #cutOff(write: Write): Promise<string> {
    const fromMs = performance.now();
    const other = this.#model.clone();
    const outcome = other.apply(write, { fromMs, toMs: fromMs });
    // Only a write that changes the set can be found again.
    const sent =
      outcome.status === undefined && outcome.isChanged === true
        ? this.#answers.send(write).catch(() => undefined)
        : undefined;
    await delay(this.#random() * 6);
    await this.#gw.agent.kill();
    const reply = await sent;
    const window = { fromMs, toMs: performance.now() };
    await this.#restart(false);
    if (reply !== undefined) this.#answers.judge(write, reply, window);
    else if (sent !== undefined) {
      const stored = await this.#answers.stored();
      const isStored = stored !== storedOf(this.#model);
      if (isStored) this.#model.apply(write, window);
    }
    await this.#answers.expectStored();
    return sent === undefined ? "not sent" : reply === undefined ? "unanswered" : `answered ${reply.status}`;
  }

  async #restart(isChecked = true): Promise<void> {
    await this.#gw.startAgent().whenReady();
    if (isChecked) await this.#answers.expectStored();
  }

  async #outage(): Promise<string> {
    const nic = pick(["eth0", "net1"] as const, this.#random);
    const isFlap = this.#random() < 0.5;
    await outage(this.#gw, nic, async () => {
      if (isFlap) return;
      const kinds: readonly Kind[] =
        nic === "net1" ? ["eip", "fip", "snat", "dnat"] : ["fip", "snat", "dnat"];
      await until(
        `nothing to be Ready without ${nic}`,
        async () => {
          const items = (await Promise.all(kinds.map((kind) => this.#items(kind)))).flat();
          return items.every(
            ({ status }) => !status.ready || ["Standby", "NoBackends"].includes(reasonOf(status)),
          );
        },
        convergenceMs,
      );
    });
    return `${nic}${isFlap ? " flaps" : ""}`;
  }

  /** Waits until no lease is about to expire. */
  async #settleLeases(): Promise<void> {
    const names = [...this.#model.of("eip").keys()];
    const isShort = (name: string) =>
      Number(this.#model.of("eip").get(name)?.spec.leaseSeconds ?? 3_600) < 60;
    await until("short leases to expire", () =>
      names.every((name) => !isShort(name) || this.#model.isExpired(name, now()) === true),
    );
  }

  async #readiness(): Promise<readonly string[]> {
    const items = await Promise.all(
      kinds.map(async (kind) =>
        (await this.#items(kind)).map(
          ({ name, status }) => `${kind}s/${name} ${readyWords(status.ready, reasonOf(status))}`,
        ),
      ),
    );
    return items.flat();
  }

  async #items(kind: Kind): Promise<readonly Item[]> {
    const { body } = await this.#gw.api.call<{ readonly items: readonly Item[] }>("GET", `/v1/${kind}s`);
    return body.items;
  }
}

function readinessInWords(expectation: Expectation): readonly string[] {
  return Array.from(
    expectation.readiness(),
    ([id, { isReady, reason }]) => `${id} ${readyWords(isReady, reason)}`,
  );
}

function readyWords(isReady: boolean, reason: string): string {
  return `${isReady ? "Ready" : "not Ready"}: ${reason}`;
}

function now(): Window {
  return { fromMs: performance.now(), toMs: performance.now() };
}

function reasonOf({ conditions }: Item["status"]): string {
  return conditions.find(({ type }) => type === "Ready")?.reason ?? "";
}
