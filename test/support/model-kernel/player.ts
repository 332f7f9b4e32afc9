/** Plays a script on a model kernel with the real reconciler. */
import { setImmediate } from "node:timers/promises";
import type { ObjectId } from "../../../lib/model/names.ts";
import { emptyState } from "../../../lib/state/state.ts";
import { ModelAgent } from "./agent.ts";
import { Clients } from "./clients.ts";
import { Strangers } from "./drift.ts";
import { Judge } from "./judge.ts";
import { keptOut } from "./kept-out.ts";
import { ModelKernel } from "./kernel.ts";
import { LeaseBook } from "./lease-book.ts";
import { Oracle } from "./oracle.ts";
import type { Act, Drift, Interruption, Step, Write } from "./script.ts";
import type { ModelDataplane } from "./tables.ts";
import { eipAddresses, interfaces } from "./universe.ts";
import { Disk, ModelClock, Wire } from "./world.ts";
import { decide } from "./writer.ts";

/** Maximum number of passes until an undisturbed gateway must be converged. */
const mostPasses = 8;

type PassStep = Extract<Step, { readonly do: "pass" }>;

export class Player {
  readonly disk = new Disk();
  readonly leases = new LeaseBook();
  readonly clock = new ModelClock();
  readonly wire = new Wire();
  readonly judge: Judge;
  kernel: ModelKernel;
  strangers: Strangers;
  agent: ModelAgent;
  /** Other programs wrote rules into the agent's chains: flows created by these can belong to any object. */
  isStrayed = false;
  /**
   * The ledger was lost with the disk: an EIP that is the primary address of a subnet may be taken for the gateway's
   * own.
   */
  hasLost = false;
  hasDrifted = false;
  /** The code of the last refusal. */
  lastRefusal: string | undefined;
  /** How many passes were incremental to their end. */
  incrementalPasses = 0;
  readonly #dataplane: ModelDataplane;
  readonly #refused: RegExp | undefined;
  readonly #isProbing: boolean;
  #epoch = 1;
  #generation = 0;
  #clients = new Clients();

  /**
   * @param refused - the kernel refuses rules whose text matches
   * @param isProbing - false: addresses are added without a probe
   */
  constructor(dataplane: ModelDataplane, refused?: RegExp, isProbing = true) {
    this.#dataplane = dataplane;
    this.#refused = refused;
    this.#isProbing = isProbing;
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
    this.judge.onDrift("network");
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
    // On a slow machine the timer of an earlier retry can take the place of one of them.
    for (let count = 0; count < 3; count++) await this.#pass(false);
    return true;
  }

  stop(): void {
    this.agent.kill();
  }

  /** What packets must do in the current state. */
  oracle(): Oracle {
    const own = this.agent.findings?.planAfter.own ?? new Set();
    return new Oracle(this.desired, { own, kept: this.kept().union(this.expired) });
  }

  /** The Eips whose lease has expired. */
  get expired(): ReadonlySet<ObjectId> {
    return this.leases.expired(this.desired, this.clock.bootMs());
  }

  /** Objects that can never be programmed: refused by the kernel, or a route without a usable next hop. */
  kept(): ReadonlySet<ObjectId> {
    return keptOut(this.desired, this.strangers, this.#refused, this.kernel.hasFilterTables);
  }

  async #step(step: Step): Promise<void> {
    switch (step.do) {
      case "pass":
        await this.#playPass(step);
        return;
      case "renew":
        this.agent.kill();
        this.#epoch++;
        this.kernel = this.#newKernel();
        this.strangers = new Strangers(this.kernel);
        this.agent = this.#newAgent();
        this.#clients = new Clients();
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

  /** After an incremental pass, a full one may have nothing left to do. It is tried after every third, and after added Eips. */
  async #playPass({ isResync, during }: PassStep): Promise<void> {
    const before = this.incrementalPasses;
    this.agent.life.onMoment = this.#interruptions(during);
    await this.#pass(isResync);
    this.agent.life.onMoment = () => this.judge.onMoment();
    if (this.incrementalPasses === before || !this.#isAtRest) return;
    const hasAdded = this.agent.findings?.changes.some(({ subsystem }) => subsystem === "address") ?? false;
    if (hasAdded || this.incrementalPasses % 3 === 0) await this.#passAgain();
  }

  /** True if nothing happened that the last pass could not know. */
  get #isAtRest(): boolean {
    const { judge, agent, disk } = this;
    return judge.isSound && judge.hasSeenAll && agent.findings?.state.desired === disk.state.desired;
  }

  async #passAgain(): Promise<void> {
    const { writes } = this.kernel;
    const before = this.agent.readyObjects().join();
    const eips = this.#eips();
    await this.#pass(true);
    if (this.#eips() !== eips) this.judge.blame("a full pass holds other Eips than an incremental one");
    if (this.kernel.writes !== writes) this.judge.blame("an incremental pass left something to a full one");
    if (this.agent.readyObjects().join() !== before)
      this.judge.blame("a full pass judges otherwise than an incremental one");
  }

  /** What the last pass knows of Eips: those to hold, what the ledger has, and what was read. */
  #eips(): string {
    const { planAfter, snapshot } = this.agent.findings ?? {};
    const held = planAfter?.program.eips.toSorted((one, other) => (one.id < other.id ? -1 : 1));
    const { addresses } = this.disk.state.ledger;
    return JSON.stringify([
      held,
      [...addresses.keys()].sort(),
      snapshot?.facts.network.addresses,
      planAfter?.own.size,
    ]);
  }

  async #pass(isResync: boolean): Promise<"ended" | "failed" | "died"> {
    this.judge.onPassBegun();
    const outcome = await this.agent.pass(isResync);
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
        this.#clients.open(this.kernel, act);
        return;
      case "again":
        this.#clients.again(this.kernel, act, this.judge);
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
    this.hasDrifted = true;
    if (drift.do === "stray rule" || drift.do === "harm backends") this.isStrayed = true;
    const { stamp } = this.kernel;
    this.strangers.play(drift);
    this.judge.onDrift(this.kernel.stamp === stamp ? "network" : "rules");
  }

  /** In the middle of a pass the pass reports it, and the next agent starts then. */
  #kill(): void {
    this.agent.kill();
    queueMicrotask(() => {
      if (this.agent.life.isOver) this.agent = this.#newAgent();
    });
  }

  #newKernel(): ModelKernel {
    const kernel = new ModelKernel(this.#dataplane);
    kernel.tables.refused = this.#refused;
    kernel.backends.refused = this.#refused;
    if (kernel.natTable !== undefined) kernel.natTable.refused = this.#refused;
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
      isProbing: this.#isProbing,
      onPass: (findings, isIncremental) => {
        if (isIncremental) this.incrementalPasses++;
        this.judge.onPass(findings, isIncremental);
      },
    });
    agent.life.onMoment = () => this.judge.onMoment();
    return agent;
  }
}
