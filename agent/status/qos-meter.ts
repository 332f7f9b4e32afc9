/**
 * Counts what the classes of EIPs' Limits sent, dropped and delayed. The kernel's counters begin at 0 with each class; these
 * go on, and vanish with their Limit. A pass reads the classes anyway; while somebody scrapes they are read in between.
 */
import { memoizeLast } from "../../lib/memoize.ts";
import { type InterfaceName, type ObjectId, parseObjectId } from "../../lib/model/names.ts";
import { type Program, ruledEips } from "../../lib/model/program.ts";
import type { Snapshot } from "../../lib/plan/plan-input.ts";
import type { ClassCounts, QosObserved } from "../../lib/plan/qos/observed.ts";
import { wantedQos } from "../../lib/plan/qos/wanted.ts";
import type { ClassStatistics } from "../../lib/tc/htb-class.ts";
import type { QosDriver } from "../kernel/drivers.ts";
import type { Metrics } from "./metrics.ts";

const counted = ["bytes", "dropped", "overlimits"] as const;
export type QosCounter = (typeof counted)[number];

export interface QosLabels {
  readonly eip: string;
  readonly direction: string;
}

export interface QosMeterDeps {
  readonly driver: Pick<QosDriver, "readCounts">;
  readonly onCounted: (counter: QosCounter, labels: QosLabels, more: number) => void;
  /** Packets that did not fit into the queues of any Limits, of EIPs or not. `ingress`: on their way into the VPC. */
  readonly onDropped: (direction: "ingress" | "egress", packets: number) => void;
  /** No Limit has these labels any more. */
  readonly onGone: (labels: QosLabels) => void;
  /** EIPs with series of their own. The others are counted together. */
  readonly maxEips?: number;
}

/** The label of all EIPs beyond {@link QosMeterDeps.maxEips}. An Eip of this name is counted with them. */
const otherEips = "other";

interface Counted {
  readonly labels: QosLabels;
  readonly statistics: ClassStatistics;
}

export class QosMeter {
  readonly #deps: Required<QosMeterDeps>;
  readonly #classes = memoizeLast(classesOfEips);
  #last: ReadonlyMap<string, Counted> = new Map();
  #lastCounts: ClassCounts = new Map();
  #lastPass: readonly [Program, QosObserved | undefined] | undefined;

  constructor(deps: QosMeterDeps) {
    this.#deps = { maxEips: 1_000, ...deps };
  }

  /** Between passes: the limits are those of the last one. */
  async reread(signal: AbortSignal): Promise<void> {
    const counts = await this.#deps.driver.readCounts(signal);
    // The program of the latest pass: it may have ended during this reading.
    if (this.#lastPass !== undefined) this.#count(...this.#lastPass, counts);
  }

  /** Call it at the end of each pass, with what was read last. */
  update(program: Program, snapshot: Pick<Snapshot, "observed">, counts: ClassCounts): void {
    this.#lastPass = [program, snapshot.observed.get("qos") as QosObserved | undefined];
    this.#count(...this.#lastPass, counts);
  }

  #count(program: Program, observed: QosObserved | undefined, counts: ClassCounts): void {
    const { onCounted, onGone, maxEips } = this.#deps;
    const now = new Map<string, Counted>();
    const eips = new Set<string>();
    for (const { key, device, minor, eip, direction } of observed ? this.#classes(program, observed) : []) {
      const statistics = counts.get(device)?.get(minor);
      if (statistics === undefined) continue;
      if (eips.size < maxEips) eips.add(eip);
      const labels = { eip: eips.has(eip) ? eip : otherEips, direction };
      const before = this.#last.get(key)?.statistics;
      for (const counter of counted)
        onCounted(counter, labels, increase(before?.[counter], statistics[counter]));
      now.set(key, { labels, statistics });
    }
    const kept = new Set(now.values().map(({ labels }) => textOf(labels)));
    for (const { labels } of this.#last.values()) if (!kept.has(textOf(labels))) onGone(labels);
    this.#last = now;
    this.#countDrops(program, counts);
  }

  #countDrops({ vpcInterface }: Program, counts: ClassCounts): void {
    for (const [device, classes] of counts) {
      const before = this.#lastCounts.get(device);
      let dropped = 0;
      for (const [minor, statistics] of classes)
        dropped += increase(before?.get(minor)?.dropped, statistics.dropped);
      this.#deps.onDropped(device === vpcInterface ? "ingress" : "egress", dropped);
    }
    this.#lastCounts = counts;
  }
}

/** Counts in the metrics of the agent. */
export function countersOf(
  metrics: Pick<Metrics, "qosBytes" | "qosDropped" | "qosOverlimits" | "droppedPackets">,
): Pick<QosMeterDeps, "onCounted" | "onDropped" | "onGone"> {
  const counters = {
    bytes: metrics.qosBytes,
    dropped: metrics.qosDropped,
    overlimits: metrics.qosOverlimits,
  };
  return {
    onCounted: (counter, labels, more) => counters[counter].inc({ ...labels }, more),
    onDropped: (direction, packets) => metrics.droppedPackets.inc({ reason: "limit", direction }, packets),
    onGone: (labels) => {
      for (const counter of Object.values(counters)) counter.remove({ ...labels });
    },
  };
}

/** A class that was made again began at 0. */
function increase(before = 0, now: number): number {
  return now < before ? now : now - before;
}

function textOf({ eip, direction }: QosLabels): string {
  return `${eip} ${direction}`;
}

interface ClassOfEip {
  /** The Limit. */
  readonly key: ObjectId;
  readonly device: InterfaceName;
  readonly minor: number;
  /** The Eip's name. */
  readonly eip: string;
  readonly direction: string;
}

function classesOfEips(program: Program, observed: QosObserved): readonly ClassOfEip[] {
  const names = new Map(ruledEips(program).map(({ address, id }) => [address, parseObjectId(id).name]));
  const limits = new Map((program.limits ?? []).map((limit) => [limit.id, limit]));
  const found: ClassOfEip[] = [];
  for (const [device, { classes = [] }] of wantedQos(program, observed).devices) {
    for (const { class: one, object } of classes) {
      const limit = object === undefined ? undefined : limits.get(object);
      if (limit?.target.kind !== "eip") continue;
      const eip = names.get(limit.target.eip);
      if (eip === undefined) continue;
      found.push({ key: limit.id, device, minor: one.minor, eip, direction: limit.direction });
    }
  }
  return found;
}
