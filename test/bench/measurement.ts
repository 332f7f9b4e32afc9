/** A measurement of one row of the benchmark. */
import type { Bench } from "./bench.ts";
import type { DataplaneName } from "./dataplanes.ts";
import { median } from "./statistics.ts";

export interface Row {
  readonly id: string;
  readonly title: string;
  /** The dataplanes to measure it on. */
  readonly dataplanes: readonly DataplaneName[];
  readonly measure: (bench: Bench) => Promise<readonly Measurement[]>;
}

export type Unit = "ms" | "µs" | "MiB" | "%" | "exponent" | "KiB per 1,000 changes";

export interface Measurement {
  readonly what: string;
  readonly unit: Unit;
  readonly samples: readonly number[];
  /** The baseline, measured in turns with the samples. */
  readonly base?: { readonly what: string; readonly samples: readonly number[] };
  /** Upper limit: of the ratio if there is a base, else of the value. Absent: no limit. */
  readonly allowed?: number;
  readonly notes?: readonly string[];
}

export type Verdict = "pass" | "miss" | "info";

export interface Judgement {
  readonly value: number;
  readonly base: number | undefined;
  readonly ratio: number | undefined;
  readonly verdict: Verdict;
}

/** Medians and their ratio. */
export function judge({ samples, base, allowed }: Measurement): Judgement {
  const value = median(samples);
  const baseValue = base === undefined ? undefined : median(base.samples);
  const ratio = baseValue === undefined ? undefined : value / baseValue;
  if (allowed === undefined) return { value, base: baseValue, ratio, verdict: "info" };
  return { value, base: baseValue, ratio, verdict: (ratio ?? value) <= allowed ? "pass" : "miss" };
}

/** Thrown by a row that cannot be measured here, with the reason. */
export class Skip extends Error {}
