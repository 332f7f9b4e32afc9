/** What is known of the ruleset: a reading, and what was written since. */
import type { Transaction } from "../../../lib/iptables/restore.ts";
import type { RuleDump } from "../../../lib/iptables/save.ts";
import { isSameMap } from "../../../lib/memoize.ts";
import type { ObservedBarrier } from "../../../lib/nftables/barrier.ts";

export interface IptablesObserved {
  readonly rules: RuleDump;
  /** The nftables tables of guard and gate; `undefined` with legacy, where they are chains of the filter table. */
  readonly barrier: ObservedBarrier | undefined;
}

export type IptablesStep =
  | { readonly kind: "rules"; readonly transaction: Transaction }
  | { readonly kind: "barrier"; readonly input: string };

export interface Known {
  readonly observed: IptablesObserved;
  /** As own commits have left it; `undefined` where nothing tells. */
  readonly stamp: number | string | undefined;
  /** Own writes since `observed`. */
  readonly written: readonly IptablesStep[];
  readonly auditedAtMs: number;
}

/** Between two readings of all of a ruleset that did not move. */
const auditIntervalMs = 600_000;

/** True where all is to be read whatever the stamp says. */
export function isDue({ auditedAtMs }: Known): boolean {
  return performance.now() - auditedAtMs >= auditIntervalMs;
}

export function isSameReading(one: IptablesObserved, other: IptablesObserved): boolean {
  return isSameMap(one.rules, other.rules) && JSON.stringify(one.barrier) === JSON.stringify(other.barrier);
}
