/** The driver of rate limits: reads qdiscs, classes and the table, and applies the planner's steps. */
import { setTimeout as delay } from "node:timers/promises";
import { stabilize } from "../../../lib/memoize.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { encodeAddAlternativeName } from "../../../lib/netlink/rtnetlink-alternative-names.ts";
import { deleteLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { encodeQos } from "../../../lib/nftables/encode-qos.ts";
import type { DropCounts } from "../../../lib/nftables/filter-tables.ts";
import type { QosTransaction } from "../../../lib/nftables/qos.ts";
import { type ClassCounts, isSameQos, type QosObserved } from "../../../lib/plan/qos/observed.ts";
import type { ScriptedQos } from "../../../lib/plan/qos/scripted.ts";
import {
  type QosStep,
  quantumDivisor,
  type TableStep,
  type TrafficStep,
} from "../../../lib/plan/qos/steps.ts";
import { encodeAddClass, encodeChangeClass, encodeDeleteClass } from "../../../lib/tc/htb-class.ts";
import { encodeAddRoot, encodeDeleteQdisc, encodeSetQueue } from "../../../lib/tc/qdisc.ts";
import { Mutex } from "../../mutex.ts";
import type { DriverFailure, QosDriver } from "../drivers.ts";
import type { ConversingConnection, NetlinkConnection } from "../netlink/connection.ts";
import type { NetlinkError } from "../netlink/refusal.ts";
import { refusalError, staleError } from "../nftables/refusal.ts";
import { hasNftables, readGeneration, transact } from "../nftables/transaction.ts";
import { readScripted } from "./scripted.ts";
import { QosTableReader } from "./table.ts";
import { type DevicesRead, readClasses, readDevices } from "./traffic-control.ts";

export interface QosDriverOptions {
  /** NETLINK_ROUTE in the namespace to manage. The driver closes neither. */
  readonly netlink: NetlinkConnection;
  readonly nftables: ConversingConnection;
}

export function createQosDriver(options: QosDriverOptions): QosDriver {
  return new Driver(options);
}

type ClassStep = Extract<TrafficStep, { kind: "class" }>;

class Driver implements QosDriver {
  readonly #netlink: NetlinkConnection;
  readonly #nftables: ConversingConnection;
  readonly #table: QosTableReader;
  readonly #keep = stabilize<QosObserved>(isSameQos);
  /** Interface indexes as last observed. */
  #indexes: ReadonlyMap<InterfaceName, number> = new Map();
  #counts: ClassCounts = new Map();
  readonly #readings = new Mutex();
  #hasNftables: boolean | undefined;
  /** Kinds of qdiscs that this kernel lacks. Only an attempt to create one shows that. */
  readonly #unknownKinds = new Set<"htb" | "fq_codel">();

  constructor({ netlink, nftables }: QosDriverOptions) {
    this.#netlink = netlink;
    this.#nftables = nftables;
    this.#table = new QosTableReader(nftables);
  }

  get counts(): ClassCounts {
    return this.#counts;
  }

  async observe(signal: AbortSignal): Promise<QosObserved> {
    this.#hasNftables ??= await hasNftables(this.#nftables, signal);
    const table = this.#hasNftables ? await this.#table.read(signal) : undefined;
    const { devices, indexes } = await this.#readDevices(signal);
    this.#indexes = indexes;
    return this.#keep({ table, hasHtb: !this.#unknownKinds.has("htb"), devices });
  }

  async readCounts(signal: AbortSignal): Promise<ClassCounts> {
    if (this.#counts.size > 0) await this.#readDevices(signal);
    return this.#counts;
  }

  /** One at a time: counts that were read earlier must not replace later ones. */
  #readDevices(signal: AbortSignal): Promise<DevicesRead> {
    return this.#readings.run(async () => {
      const read = await readDevices(this.#netlink, signal);
      this.#counts = read.counts;
      return read;
    });
  }

  async readDrops(signal: AbortSignal): Promise<DropCounts> {
    return this.#hasNftables === true ? this.#table.readDrops(signal) : new Map();
  }

  readScripted(signal: AbortSignal): Promise<ScriptedQos> {
    return readScripted(this.#netlink, signal);
  }

  forget(): void {
    this.#table.forget();
  }

  async isCurrent(signal: AbortSignal): Promise<boolean> {
    return this.#hasNftables !== true || this.#table.isCurrent(signal);
  }

  async apply(steps: readonly QosStep[], signal: AbortSignal): Promise<readonly DriverFailure<QosStep>[]> {
    const traffic: TrafficStep[] = [];
    const tables: TableStep[] = [];
    for (const step of steps) {
      if (step.kind === "table") tables.push(step);
      else traffic.push(step);
    }
    if (traffic.every(isRemoval)) await this.#drain(traffic.filter(isRemoval), signal);
    const failures = await this.#applyTraffic(traffic, signal);
    // Without HTB the classes cannot exist, so the table is not written. Existing policers stay; the next pass plans policing.
    if (failures.some(isWithoutHtb)) return [...failures, ...tables.map(withoutClasses)];
    for (const { transaction } of tables) await this.#write(transaction, signal);
    return failures;
  }

  async #applyTraffic(steps: readonly TrafficStep[], signal: AbortSignal) {
    const failures: DriverFailure<QosStep>[] = [];
    const sendable: (readonly [TrafficStep, number])[] = [];
    for (const step of steps) {
      const index = this.#indexes.get(step.device);
      if (index !== undefined) sendable.push([step, index]);
      else failures.push({ step, code: "ENODEV", message: `interface ${step.device} does not exist` });
    }
    const errors = await this.#send(sendable, signal);
    const again = sendable.filter(([step], at) => this.#isQueueRefused(step, errors[at]));
    const errorsAgain = again.length === 0 ? [] : await this.#send(again, signal);
    for (const [at, [step]] of sendable.entries()) {
      const retried = again.findIndex(([one]) => one === step);
      const error = retried < 0 ? errors[at] : errorsAgain[retried];
      if (error === undefined || isReached(step, error)) continue;
      const failure = { step, code: error.code, message: error.message };
      if (isWithoutHtb(failure)) this.#unknownKinds.add("htb");
      failures.push(failure);
    }
    return failures;
  }

  /** True if the kernel has no fq_codel: then the same steps make another queue. */
  #isQueueRefused({ kind }: TrafficStep, error: NetlinkError | undefined): boolean {
    if (kind !== "queue" || error?.code !== "ENOENT") return false;
    this.#unknownKinds.add("fq_codel");
    return true;
  }

  #send(steps: readonly (readonly [TrafficStep, number])[], signal: AbortSignal) {
    const messages = steps.map(([step, index]) => this.#encode(step, index));
    return this.#netlink.batch(messages, signal);
  }

  #encode(step: TrafficStep, index: number): NetlinkMessage {
    switch (step.kind) {
      case "name":
        return encodeAddAlternativeName(index, step.name);
      case "release":
        return step.what === "link" ? deleteLink(index) : encodeDeleteQdisc(index, step.what);
      case "root":
        return encodeAddRoot(index, quantumDivisor);
      case "queue": {
        const kind = this.#unknownKinds.has("fq_codel") ? "bfifo" : "fq_codel";
        return encodeSetQueue(index, step.minor, { kind, limitBytes: step.limitBytes });
      }
      case "class":
        return encodeClass[step.action](index, step);
    }
  }

  /** One transaction. It names only the agent's own table, so what others wrote meanwhile does not matter. */
  async #write(transaction: QosTransaction, signal: AbortSignal): Promise<void> {
    const isReplaced = transaction.definition?.isReplaced === true;
    const counts = isReplaced ? await this.#table.readDrops(signal) : undefined;
    const generation = await readGeneration(this.#nftables, signal);
    const outcome = await transact(this.#nftables, generation, encodeQos(transaction, counts));
    if (outcome.kind === "stale") throw staleError();
    if (outcome.kind === "refused") throw refusalError(outcome, "the table of rate limits");
  }

  /** A class is deleted with the packets in its queue. No packet is put into it any more: it is soon empty. */
  async #drain(removals: readonly ClassStep[], signal: AbortSignal): Promise<void> {
    const devices = new Set(removals.map(({ device }) => device));
    for (let looks = 1; looks <= maxDrainLooks; looks++) {
      let queued = 0;
      for (const device of devices) {
        const index = this.#indexes.get(device);
        if (index === undefined) continue;
        const classes = await readClasses(this.#netlink, index, signal);
        for (const removal of removals)
          if (removal.device === device) queued += classes.get(removal.class.minor)?.statistics.queued ?? 0;
      }
      if (queued === 0) return;
      await delay(drainPauseMs, undefined, { signal });
    }
  }
}

/** A queue holds 50 ms at the limit, but for the lowest limits. */
const maxDrainLooks = 10;
const drainPauseMs = 20;

const encodeClass = {
  add: (index: number, step: ClassStep) => encodeAddClass(index, step.class),
  change: (index: number, step: ClassStep) => encodeChangeClass(index, step.class),
  remove: (index: number, step: ClassStep) => encodeDeleteClass(index, step.class.minor),
};

function isRemoval(step: QosStep): step is ClassStep {
  return step.kind === "class" && step.action === "remove";
}

/** The kernel has no HTB. */
function isWithoutHtb({ step, code }: DriverFailure<QosStep>): boolean {
  return step.kind === "root" && code === "ENOENT";
}

function withoutClasses(step: TableStep): DriverFailure<QosStep> {
  return { step, code: "ENOENT", message: "this kernel has no HTB" };
}

/** It is gone already. */
function isReached(step: TrafficStep, { code }: NetlinkError): boolean {
  if (step.kind === "release") return ["ENOENT", "ENODEV", "EINVAL"].includes(code);
  return isRemoval(step) && code === "ENOENT";
}
