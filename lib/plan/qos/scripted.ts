/**
 * The rate limits of Kube-OVN's script, as read. Its releases differ: those since 1.16 put packets into classes, also what comes
 * in, which `ifb-DEVICE` gets first; those before drop what is too much, at the root or at the ingress qdisc.
 */
import type { InterfaceName } from "../../model/names.ts";
import type { HtbClass } from "../../tc/htb-class.ts";
import type { LimitFilter } from "../../tc/limit-filter.ts";

/** One device. */
export interface ScriptedDevice {
  /** Of the root qdisc `htb 1:`, by minor number. */
  readonly classes: ReadonlyMap<number, HtbClass>;
  /** Of the root qdisc. */
  readonly filters: readonly LimitFilter[];
  /** Of the ingress qdisc. */
  readonly ingress: readonly LimitFilter[];
}

export type ScriptedQos = ReadonlyMap<InterfaceName, ScriptedDevice>;

/** The minor number of the script's class for all packets without a limit. */
export const scriptDefaultMinor = 0x9999;
/** The script's divisor for quanta (r2q): tc's own. */
export const scriptQuantumDivisor = 10;

/** The device whose packets another one gets as they come in. */
export function redirectedTo(name: InterfaceName): string | undefined {
  return name.startsWith("ifb-") ? name.slice("ifb-".length) : undefined;
}

/** True for the script's root qdisc with classes. Without them it is like that of any other program. */
export function isScriptRoot(root: {
  readonly kind: string;
  readonly defaultClass?: number;
  readonly quantumDivisor?: number;
}): boolean {
  const { kind, defaultClass, quantumDivisor } = root;
  return kind === "htb" && defaultClass === scriptDefaultMinor && quantumDivisor === scriptQuantumDivisor;
}
