/** What the driver of rate limits reads. */
import { isSameMap } from "../../memoize.ts";
import type { InterfaceName } from "../../model/names.ts";
import { isSameQosTable, type ObservedQosTable } from "../../nftables/qos.ts";
import type { ClassStatistics, HtbClass } from "../../tc/htb-class.ts";

export interface QosObserved {
  /** `undefined`: this kernel has no nf_tables, so nothing can be limited. */
  readonly table: ObservedQosTable | undefined;
  /** False once the kernel refused to make an HTB. */
  readonly hasHtb: boolean;
  /** All devices of the namespace. */
  readonly devices: ReadonlyMap<InterfaceName, ObservedDevice>;
}

export interface ObservedDevice {
  readonly alternativeNames: readonly string[];
  /**
   * `default`: what the kernel gives every device. `script`: made by Kube-OVN's script, which the agent replaces where it has
   * limits. `foreign`: installed by another program.
   */
  readonly root: "default" | "ours" | "script" | "foreign";
  /** The classes by minor number. Empty unless the root is ours. */
  readonly classes: ReadonlyMap<number, HtbClass>;
  /** The queues of classes by their minor number, as {@link queueText}. */
  readonly queues: ReadonlyMap<number, string>;
}

/** What classes have counted, by device, then by minor number. */
export type ClassCounts = ReadonlyMap<InterfaceName, ReadonlyMap<number, ClassStatistics>>;

export const nothingObserved: QosObserved = { table: undefined, hasHtb: true, devices: new Map() };

export function isSameQos(one: QosObserved, other: QosObserved): boolean {
  return (
    one.hasHtb === other.hasHtb &&
    isSameMap(one.devices, other.devices, isSameDevice) &&
    (one.table === other.table ||
      (one.table !== undefined && other.table !== undefined && isSameQosTable(one.table, other.table)))
  );
}

function isSameDevice(one: ObservedDevice, other: ObservedDevice): boolean {
  return (
    one.root === other.root &&
    one.alternativeNames.join() === other.alternativeNames.join() &&
    isSameMap(one.classes, other.classes, isSameClass) &&
    isSameMap(one.queues, other.queues)
  );
}

export function isSameClass(one: HtbClass, other: HtbClass): boolean {
  return (
    one.minor === other.minor &&
    one.parent === other.parent &&
    one.rate === other.rate &&
    one.ceil === other.ceil &&
    one.buffer === other.buffer &&
    one.ceilBuffer === other.ceilBuffer &&
    one.quantum === other.quantum
  );
}

/** `fq_codel`, `bfifo limit 65536`. */
export function queueText(kind: string, limitBytes: number | undefined): string {
  return kind === "bfifo" ? `bfifo limit ${limitBytes ?? 0}` : kind;
}
