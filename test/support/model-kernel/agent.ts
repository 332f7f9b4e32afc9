/**
 * The real reconciler, its passes and its status board on a model kernel: one life of an agent, and what survives it.
 */

import { setImmediate } from "node:timers/promises";
import type { Announcer } from "../../../agent/kernel/drivers.ts";
import { ArpProbe } from "../../../agent/reconciler/eips/arp-probe.ts";
import { ProbeQueue } from "../../../agent/reconciler/eips/probe-queue.ts";
import type { DryRun } from "../../../agent/reconciler/operations/dry-run.ts";
import type { PassResult } from "../../../agent/reconciler/pass/pass-result.ts";
import { Reconciler } from "../../../agent/reconciler/reconciler.ts";
import { StatusBoard } from "../../../agent/status/board.ts";
import type { StateAccess } from "../../../agent/store/state-access.ts";
import type { Decision, WriteContext } from "../../../lib/admission/writes.ts";
import type { Mac } from "../../../lib/arp/packet.ts";
import { inParts, runSync } from "../../../lib/chunked.ts";
import { connectedSubnets } from "../../../lib/kinds/facts.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import { kinds, type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { Gateway } from "../../../lib/model/schema.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State, StateChange } from "../../../lib/state/state.ts";
import { nothingCounted } from "../accounting.ts";
import { apiGuardInPlace, noApi } from "../api-guard.ts";
import { nobody, nobodyElse } from "../netfilter.ts";
import { nothingLimited } from "../qos.ts";
import { modelDataplane, previousNftables } from "./dataplanes.ts";
import type { ModelKernel } from "./kernel.ts";
import { Life } from "./life.ts";
import { hosts, interfaces, ip } from "./universe.ts";
import type { Disk, ModelClock, Wire } from "./world.ts";

export interface Surroundings {
  readonly kernel: ModelKernel;
  readonly disk: Disk;
  readonly wire: Wire;
  readonly clock: ModelClock;
  /** Identifies the life of the namespace. */
  readonly epoch: string;
  /** True if it takes over the live state at the start. Absent: false. */
  readonly isAdopting?: boolean;
  readonly checkGateway?: (gateway: Gateway) => Promise<void>;
  /** False: addresses are added without a probe. Absent: true. */
  readonly isProbing?: boolean;
  /** Called after every pass that finished. */
  readonly onPass: (findings: PassResult, isIncremental: boolean) => void;
}

const neighbourMac = "02:00:00:00:00:99" as Mac;

/** No timer fires within a script: its passes are only those that it requests. */
const neverMs = 2 ** 30;

export class ModelAgent {
  readonly life = new Life();
  /** Addresses for which another host replied at this agent's last probe. */
  readonly contested = new Set<Ip>();
  readonly board: StatusBoard;
  readonly #reconciler: Reconciler;
  readonly #around: Surroundings;
  readonly #probeQueue: ProbeQueue;
  readonly #arpProbe: ArpProbe;
  #passes = 0;
  #lastParts: PassResult["planAfter"]["parts"] | undefined;
  lastError: unknown;
  /** True if a write since the start of the last pass wakes the agent: one that leaves something to do. */
  isWoken = false;
  /** True if its store held a set when it started. */
  readonly isSetStored: boolean;

  constructor(around: Surroundings) {
    const { kernel, disk, clock, epoch } = around;
    this.#around = around;
    this.isSetStored = disk.state.isSet;
    const { network, conntrack } = kernel.driversFor(this.life);
    const announcer = this.#announcer();
    this.board = new StatusBoard(epoch, () => disk.state, new Date(clock.wallMs()).toISOString());
    this.#probeQueue = new ProbeQueue({
      announcer,
      nowMs: () => clock.bootMs(),
      random: () => 0,
      onFailure: () => {},
    });
    this.#arpProbe = new ArpProbe({
      announcer: around.isProbing === false ? undefined : announcer,
      queue: this.#probeQueue,
      nowMs: () => clock.bootMs(),
      // The next pass of the script sees it.
      onAnswer: () => {},
      onFailure: () => {},
    });
    this.#reconciler = new Reconciler({
      store: this.#store(),
      dataplane: modelDataplane(kernel, this.life, () => clock.bootMs()),
      previousDataplanes: () => [previousNftables(kernel)],
      netfilter: { ...nobodyElse, observe: async () => ({ ...nobody, leftovers: [...kernel.leftovers] }) },
      qos: nothingLimited,
      accounting: nothingCounted,
      apiGuard: apiGuardInPlace,
      network,
      nextHops: { observe: async () => [] },
      conntrack,
      announcer,
      arpProbe: this.#arpProbe,
      // The network of the model sends nothing by itself.
      arpConflicts: { conflicts: new Map(), probe() {}, probeNow: async () => {} },
      clock,
      epoch,
      config: {
        family: ipv4,
        vpcInterface: interfaces.vpc,
        externalInterface: interfaces.external,
        fallbackGateway: ip(hosts.outside),
        eipBinding: "address",
        untranslated: "forward",
        isBfdGated: false,
        apiGuard: noApi,
      },
      board: this.board,
      resyncIntervalMs: neverMs,
      isAdopting: around.isAdopting ?? false,
      checkGateway: around.checkGateway,
      onPass: (findings) => {
        this.#passes++;
        // Every full pass plans each subsystem.
        const isIncremental = findings.planAfter.parts === this.#lastParts;
        this.#lastParts = findings.planAfter.parts;
        around.onPass(findings, isIncremental);
      },
      onFailure: (error) => {
        this.#passes++;
        this.lastError = error;
      },
    });
  }

  get isReady(): boolean {
    return this.#reconciler.isReady;
  }

  /** What became of the live state that the start found. */
  get adoption(): Reconciler["adoption"] {
    return this.#reconciler.adoption;
  }

  get findings(): PassResult | undefined {
    return this.#reconciler.result;
  }

  readyObjects(): readonly ObjectId[] {
    const { desired } = this.#around.disk.state;
    return kinds
      .flatMap((kind) => Array.from(objectsOf(desired, kind).keys(), (name) => objectId(kind, name)))
      .filter((id) => this.board.statusOf(id).ready);
  }

  get context(): WriteContext {
    const { network, ownAddresses } = this.#reconciler;
    return {
      now: this.#around.clock.instant(),
      facts: {
        vpcInterface: interfaces.vpc,
        externalInterface: interfaces.external,
        ownAddresses,
        fallbackGateway: ip(hosts.outside),
        connectedSubnets: network && connectedSubnets(network, ownAddresses),
      },
      isUnadopted: this.#reconciler.isUnadopted,
      digest: (text) => text,
    };
  }

  /**
   * A write by the API, durable at once.
   * @returns the refusal, if any
   */
  write(decide: (state: State, context: WriteContext) => Decision): GatewayError | undefined {
    try {
      const decision = decide(this.#around.disk.state, this.context);
      this.#around.disk.keep(decision.changes);
      this.#reconciler.note(decision.changes);
      this.isWoken ||= decision.changes.some(({ type }) => type === "revision");
      return decision.refusal;
    } catch (error) {
      if (error instanceof GatewayError) return error;
      throw error;
    }
  }

  /** Runs one pass. It is full if it is the first of a life or if no write asked for it. Returns when it has ended, failed, or killed the agent. */
  async pass(isResync: boolean): Promise<"ended" | "failed" | "died"> {
    this.lastError = undefined;
    const reason = this.isWoken ? "write" : "script";
    this.isWoken = false;
    await this.probeAgain();
    const before = this.#passes;
    if (before === 0) this.#reconciler.start();
    else if (isResync) this.#reconciler.resync("script");
    else this.#reconciler.wake(reason);
    const over = async () => {
      while (this.#passes === before && !this.life.isOver) await setImmediate();
      // Lets the loop become idle and the probes be answered.
      await setImmediate();
      return this.lastError === undefined ? "ended" : "failed";
    };
    return Promise.race([over(), this.life.died]);
  }

  /** Like the agent's timer: probes again for addresses that another host held. Returns when the probes are answered. */
  async probeAgain(): Promise<void> {
    this.#probeQueue.sendDue();
    await setImmediate();
  }

  /** Like `POST /v1/reconcile`. */
  reconcile(): Promise<unknown> {
    return this.#reconciler.reconcile("api", AbortSignal.timeout(10_000));
  }

  /** Like `GET /v1/plan`. */
  preview(): Promise<DryRun> {
    return this.#reconciler.preview(this.#around.disk.state, AbortSignal.timeout(10_000));
  }

  /** What `GET /v1/plan?fresh=true` shows. */
  audit(): Promise<DryRun> {
    return this.#reconciler.audit(AbortSignal.timeout(10_000));
  }

  /** Like a write that names these objects. The timer probes in the meantime, as in the agent. */
  async probeFor(ids: readonly ObjectId[], timeoutMs: number): Promise<number> {
    const left = this.#reconciler.probeFor(ids, timeoutMs, new AbortController().signal);
    this.#probeQueue.sendDue();
    return left;
  }

  /** kill -9. Its timers end with it. */
  kill(): void {
    this.life.kill();
    void this.#reconciler.stop();
    void this.#probeQueue.stop();
    void this.#arpProbe.stop();
  }

  #announcer(): Announcer {
    const { wire } = this.#around;
    return {
      probe: async (addresses) => {
        for (const { address } of addresses) wire.probes.set(address, (wire.probes.get(address) ?? 0) + 1);
        await wire.asked();
        for (const { address } of addresses) {
          if (wire.claimed.has(address)) this.contested.add(address);
          else this.contested.delete(address);
        }
        const others = addresses.flatMap(({ address }) =>
          wire.claimed.has(address) ? [[address, neighbourMac] as const] : [],
        );
        return { others: new Map(others), unsent: new Set() };
      },
      hear: () => [],
      announce: () => {},
      stop: async () => {},
    };
  }

  #store(): StateAccess {
    const { life } = this;
    const { disk } = this.#around;
    const note = (changes: readonly StateChange[]) => this.#reconciler.note(changes);
    return {
      get current() {
        return disk.state;
      },
      async transact(decide) {
        await life.moment();
        const { changes, result } = runSync(inParts(decide(disk.state)));
        if (disk.isFull && changes.length > 0)
          throw new GatewayError("storage-unavailable", "no space left on device");
        disk.keep(changes);
        note(changes);
        await life.moment();
        return { state: disk.state, result };
      },
    };
  }
}
