/** The steps of the rate limits, and how they look to people: in the syntax of tc, ip and nft. */
import type { Change } from "../../model/change.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import { tableLabel } from "../../nftables/family.ts";
import { partsOfValue, type QosTransaction, qosTable } from "../../nftables/qos.ts";
import { handleText, ownHandle } from "../../tc/handles.ts";
import type { HtbClass } from "../../tc/htb-class.ts";

/** A step of tc or ip. */
export type TrafficStep =
  | { readonly kind: "name"; readonly device: InterfaceName; readonly name: string }
  | { readonly kind: "root"; readonly device: InterfaceName }
  /** Deletes what Kube-OVN's script made: a device's root or ingress qdisc, or the device itself. */
  | { readonly kind: "release"; readonly device: InterfaceName; readonly what: "root" | "ingress" | "link" }
  | {
      readonly kind: "class";
      readonly device: InterfaceName;
      readonly action: "add" | "change" | "remove";
      readonly class: HtbClass;
      readonly object: ObjectId | undefined;
    }
  | {
      readonly kind: "queue";
      readonly device: InterfaceName;
      /** Of its class. */
      readonly minor: number;
      readonly limitBytes: number;
      readonly object: ObjectId | undefined;
    };

/** A transaction of nf_tables. */
export interface TableStep {
  readonly kind: "table";
  readonly transaction: QosTransaction;
  readonly changes: readonly Change[];
}

export type QosStep = TrafficStep | TableStep;

/**
 * Tells the agent's root qdisc from one of another program. HTB uses the value only for classes without a quantum, and
 * the agent's all have one.
 */
export const quantumDivisor = 1_000;

export function changesOf(step: QosStep): readonly Change[] {
  const change = (action: Change["action"], text: string, object?: ObjectId): readonly Change[] => [
    { action, subsystem: "qos", ...(object !== undefined && { object }), text },
  ];
  switch (step.kind) {
    case "table":
      return step.changes;
    case "name":
      return change("add", `ip link property add dev ${step.device} altname ${step.name}`);
    case "root":
      return change(
        "add",
        `tc qdisc add dev ${step.device} root handle 1: htb default 0 r2q ${quantumDivisor}`,
      );
    case "release": {
      const { device, what } = step;
      return change(
        "remove",
        what === "link" ? `ip link del ${device}` : `tc qdisc del dev ${device} ${what}`,
      );
    }
    case "class": {
      const { device, action, class: wanted, object } = step;
      const id = `classid ${handleText(ownHandle(wanted.minor))}`;
      if (action === "remove") return change("remove", `tc class del dev ${device} ${id}`, object);
      const parent = `parent ${handleText(ownHandle(wanted.parent))}`;
      const rates = `rate ${bits(wanted.rate)} ceil ${bits(wanted.ceil)}`;
      return change(
        action === "add" ? "add" : "replace",
        `tc class ${action} dev ${device} ${parent} ${id} htb ${rates}`,
        object,
      );
    }
    case "queue": {
      const parent = handleText(ownHandle(step.minor));
      const text = `tc qdisc replace dev ${step.device} parent ${parent} fq_codel`;
      return change("replace", `${text} (or bfifo limit ${step.limitBytes})`, step.object);
    }
  }
}

function bits(bytesPerSecond: number): string {
  return `${bytesPerSecond * 8}bit`;
}

export function tableChange(action: "add" | "remove" | "replace"): Change {
  return { action, subsystem: "qos", text: `${action} table ${tableLabel(qosTable)}` };
}

export function elementChange(
  action: "add" | "remove",
  set: string,
  key: string,
  value: string,
  object?: ObjectId,
): Change {
  const { value: plain, comment } = partsOfValue(value);
  const quoted = comment === undefined ? "" : ` comment "${comment}"`;
  const element = plain.startsWith("limit") ? `${key} ${plain}${quoted}` : `${key}${quoted} : ${plain}`;
  const what = action === "add" ? element : key;
  return {
    action,
    subsystem: "qos",
    ...(object !== undefined && { object }),
    text: `${action === "add" ? "add" : "delete"} element ${tableLabel(qosTable)} ${set} { ${what} }`,
  };
}
