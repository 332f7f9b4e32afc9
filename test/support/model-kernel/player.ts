/** Plays a script on a model kernel with the real reconciler. */
import { setImmediate } from "node:timers/promises";
import { kinds, type ObjectId, objectId } from "../../../lib/model/names.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import { emptyState } from "../../../lib/state/state.ts";
import { Disk, ModelAgent, ModelClock, Wire } from "./agent.ts";
import { Strangers } from "./drift.ts";
import { Judge } from "./judge.ts";
import { ModelKernel } from "./kernel.ts";
import { LeaseBook } from "./lease-book.ts";
import { Oracle } from "./oracle.ts";
import type { Act, Again, Drift, Interruption, Opening, Step, Write } from "./script.ts";
import type { Variant } from "./tables.ts";
import type { Fate, Packet } from "./tracer.ts";
import { eipAddresses, interfaces, outside, pods, services } from "./universe.ts";
import { decide } from "./writer.ts";

/** Maximum number of passes until an undisturbed gateway must be converged. */
const mostPasses = 8;

export class Player {
  readonly disk = new Disk();
  readonly leases = new LeaseBook();
  readonly clock = new ModelClock();
  readonly wire = new Wire();
  readonly judge: Judge;
  kernel: ModelKernel;
  strangers: Strangers;
  agent: ModelAgent;
  /** Other processes wrote rules into the agent's chains: flows created by these can belong to any object. */
  isStrayed = false;
  /**
   * The ledger was lost with the disk: an EIP that is the primary address of a subnet may be taken for the gateway's
   * own.
   */
  hasLost = false;
  hasDrifted = false;
  /** The code of the last refusal. */
  lastRefusal: string | undefined;
  readonly #variant: Variant;
  readonly #refused: RegExp | undefined;
  #epoch = 1;
  #generation = 0;
  #opened: { readonly packet: Packet; readonly fate: Fate }[] = [];

  /** @param refused - the kernel refuses rules whose text matches */
  constructor(variant: Variant, refused?: RegExp) {
    this.#variant = variant;
    this.#refused = refused;
    this.judge = new Judge(this);
    this.judge.isSound = refused === undefined;
    this.kernel = this.#newKernel();
    this.strangers = new Strangers(this.kernel);
    this.agent = this.#newAgent();
  }

  get desired() {
    return this.disk.state.desired;
  }

  async play(script: readonly Step[]): Promise<void> {
    for (const [index, step] of script.entries()) {
      this.judge.at = `step ${index} ${JSON.stringify(step)}`;
      await this.#step(step);
    }
  }

  /**
   * Nothing happens any more, and the agent may run a few passes.
   * @returns false if it keeps writing
   */
  async settle(): Promise<boolean> {
    this.kernel.faults.clear();
    this.disk.isFull = false;
    this.wire.claimed.clear();
    this.wire.answer();
    this.kernel.network.setLink(interfaces.vpc, true);
    this.kernel.network.setLink(interfaces.external, true);
    this.judge.drifts++;
    if (!this.disk.state.isSet) this.#write({ do: "set", objects: [] });
    // Earlier probes are answered first. Then the clock advances past every retry.
    await setImmediate();
    this.clock.pass(400_000);
    for (let count = 0; count < mostPasses; count++) {
      this.judge.at = `settling ${count}`;
      const writes = this.kernel.writes;
      const outcome = await this.#pass(true);
      // What cannot be programmed may be retried again and again.
      const isQuiet = this.kernel.writes === writes || (count >= mostPasses / 2 && this.kept().size > 0);
      if (outcome === "ended" && count > 0 && isQuiet) return true;
    }
    return false;
  }

  /**
   * Renews every lease, then runs the passes that this makes due: one, and one more after the ARP probe of the addresses that
   * return. @returns false if no Eip has a lease
   */
  async revive(): Promise<boolean> {
    const names = [...this.desired.eips].flatMap(([name, { spec }]) =>
      spec.leaseSeconds === undefined ? [] : [name],
    );
    if (names.length === 0) return false;
    this.judge.at = "the renewal of all leases";
    this.#write({ do: "renew leases", names });
    if (!this.agent.isWoken) return true;
    await this.#pass(false);
    await this.#pass(false);
    return true;
  }

  stop(): void {
    this.agent.kill();
  }

  /** What packets must do in the current state. */
  oracle(): Oracle {
    const own = this.agent.findings?.residual.own ?? new Set();
    return new Oracle(this.desired, { own, kept: this.kept().union(this.expired) });
  }

  /** The Eips whose lease has expired. */
  get expired(): ReadonlySet<ObjectId> {
    return this.leases.expired(this.desired, this.clock.bootMs());
  }

  /** Objects that can never be programmed: refused by the kernel, or a route without a usable next hop. */
  kept(): ReadonlySet<ObjectId> {
    const kept = new Set<ObjectId>();
    for (const kind of kinds)
      for (const [name, { spec }] of objectsOf(this.desired, kind))
        if (this.#refused?.test(JSON.stringify(spec)) === true) kept.add(objectId(kind, name));
    for (const [name, { spec }] of this.desired.routes) {
      const foreign = this.strangers.routes.find(({ destination }) => destination === spec.destination);
      const isTaken = foreign !== undefined && foreign.via !== spec.via;
      if (spec.via === "10.9.9.9" || isTaken) kept.add(objectId("route", name));
    }
    return kept;
  }

  async #step(step: Step): Promise<void> {
    switch (step.do) {
      case "pass":
        this.agent.life.onMoment = this.#interruptions(step.during);
        await this.#pass(step.isFull);
        this.agent.life.onMoment = () => this.judge.onMoment();
        return;
      case "renew":
        this.agent.kill();
        this.#epoch++;
        this.kernel = this.#newKernel();
        this.strangers = new Strangers(this.kernel);
        this.agent = this.#newAgent();
        this.#opened = [];
        this.isStrayed = false;
        this.hasLost = this.disk.isFull;
        return;
      case "lose state":
        this.agent.kill();
        this.disk.state = emptyState;
        this.hasLost = true;
        this.agent = this.#newAgent();
        return;
      default:
        this.#act(step);
    }
  }

  #interruptions(during: readonly Interruption[]) {
    const start = this.agent.life.moments;
    return (number: number) => {
      for (const { at, act } of during) if (start + at === number) this.#act(act);
      this.judge.onMoment();
    };
  }

  async #pass(isFull: boolean): Promise<"ended" | "failed" | "died"> {
    this.judge.onPassBegun();
    const outcome = await this.agent.pass(isFull);
    if (outcome === "died") this.agent = this.#newAgent();
    return outcome;
  }

  #act(act: Act): void {
    switch (act.do) {
      case "put":
      case "remove":
      case "batch":
      case "set":
      case "renew leases":
        this.#write(act);
        return;
      case "open":
        this.#open(act);
        return;
      case "again":
        this.#again(act);
        return;
      case "fault":
        this.judge.isSound = false;
        this.kernel.cutAt = act.at;
        this.kernel.faults.add(act.fault);
        return;
      case "disk full":
        this.judge.isSound = false;
        this.disk.isFull = act.isFull;
        // Changes that could not be stored are lost.
        this.hasLost = true;
        return;
      case "claim":
        this.judge.isSound = false;
        this.wire.claim(eipAddresses[act.number], act.isClaimed);
        return;
      case "slow wire":
        if (act.isSlow) this.wire.isSlow = true;
        else this.wire.answer();
        return;
      case "time":
        this.clock.pass(act.ms);
        return;
      case "kill":
        this.#kill();
        return;
      default:
        this.#drift(act);
    }
  }

  #write(write: Write): void {
    const refusal = this.agent.write((state, context) =>
      decide(write, state, context, () => ++this.#generation),
    );
    this.lastRefusal = refusal?.code;
    // If some of them are not stored, the others are renewed all the same.
    const isAccepted = refusal === undefined || (write.do === "renew leases" && refusal.code === "not-found");
    if (isAccepted) this.leases.note(write, this.clock.bootMs());
    this.judge.onWritten();
  }

  #drift(drift: Drift): void {
    this.judge.drifts++;
    this.hasDrifted = true;
    if (drift.do === "stray rule") this.isStrayed = true;
    this.strangers.play(drift);
  }

  /** In the middle of a pass the pass reports it, and the next agent starts then. */
  #kill(): void {
    this.agent.kill();
    queueMicrotask(() => {
      if (this.agent.life.isOver) this.agent = this.#newAgent();
    });
  }

  #newKernel(): ModelKernel {
    const kernel = new ModelKernel(this.#variant);
    kernel.tables.refused = this.#refused;
    this.judge.onFreshKernel(kernel);
    return kernel;
  }

  #newAgent(): ModelAgent {
    const { kernel, disk, wire, clock } = this;
    const agent = new ModelAgent({
      kernel,
      disk,
      wire,
      clock,
      epoch: `epoch-${this.#epoch}`,
      onPass: (findings) => this.judge.onPass(findings),
    });
    agent.life.onMoment = () => this.judge.onMoment();
    return agent;
  }

  #open({ from, to, transport, port, sourcePort }: Opening): void {
    const source = from === "outside" ? outside : pods[from];
    const destination = to === "outside" ? outside : eipAddresses[to];
    if (source === undefined || destination === undefined || source === destination) return;
    const nic = from === "outside" ? interfaces.external : interfaces.vpc;
    const destinationPort = to === "outside" ? services[transport][0] : port;
    const packet: Packet = { from: nic, transport, source, sourcePort, destination, destinationPort };
    this.#opened.push({ packet, fate: this.kernel.tracer.send(packet) });
  }

  #again({ number, isAnswer, isStray }: Again): void {
    const one = this.#opened[number % this.#opened.length];
    if (one === undefined || (isAnswer && one.fate.kind !== "sent")) return;
    const { tracer } = this.kernel;
    const base = isAnswer && one.fate.kind === "sent" ? tracer.answer(one.packet, one.fate) : one.packet;
    const packet = { ...base, isStray };
    const fate = tracer.send(packet);
    if (isStray) this.judge.onStray(packet, fate);
  }
}
