/** The results as a table for people, and as data. */
import type { DataplaneName } from "./dataplanes.ts";
import type { Machine } from "./machine.ts";
import { judge, type Measurement, type Unit, type Verdict } from "./measurement.ts";
import type { Options } from "./options.ts";

/** The result of a row on one dataplane: measurements, or why there are none. */
export interface Result {
  readonly row: string;
  readonly title: string;
  readonly dataplane: DataplaneName;
  readonly outcome:
    | { readonly kind: "measured"; readonly measurements: readonly Measurement[] }
    | { readonly kind: "skipped" | "failed"; readonly reason: string };
}

export interface Report {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly options: Pick<Options, "objects" | "runs" | "isQuick" | "isFull">;
  readonly results: readonly Result[];
}

interface Entry {
  readonly row: string;
  readonly title: string;
  readonly dataplane: DataplaneName;
  readonly what?: string;
  readonly unit?: Unit;
  readonly measured?: number;
  readonly base?: number | undefined;
  readonly baseWhat?: string | undefined;
  readonly ratio?: number | undefined;
  readonly allowed?: number | undefined;
  readonly verdict: Verdict | "skipped" | "failed";
  readonly notes: readonly string[];
  readonly samples?: readonly number[];
  readonly baseSamples?: readonly number[] | undefined;
}

export function toJson({ results, ...rest }: Report): string {
  return JSON.stringify({ ...rest, results: results.flatMap(entriesOf) }, undefined, 2);
}

export function toTable({ startedAt, machine, options, results }: Report): string {
  const entries = results.flatMap(entriesOf);
  const head = ["row", "what", "dataplane", "measured", "base", "ratio", "allowed", "verdict"];
  const lines = entries.map((entry) => [
    entry.row,
    entry.what ?? entry.title,
    entry.dataplane,
    figure(entry.measured, entry.unit),
    figure(entry.base, entry.unit),
    entry.ratio === undefined ? "" : `${entry.ratio.toFixed(2)} ×`,
    allowedText(entry),
    entry.verdict,
  ]);
  return [
    `${startedAt}, ${options.objects} objects, medians of ${options.runs} runs or more`,
    Object.entries(machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(", "),
    "",
    ...align([head, ...lines]),
    "",
    ...bases(entries),
    ...entries.flatMap(({ row, dataplane, what, notes }) =>
      notes.map((note) => `row ${row} ${dataplane}${what === undefined ? "" : `, ${what}`}: ${note}`),
    ),
  ].join("\n");
}

/** True if a limit was exceeded or a row failed. Skipped rows do not count. */
export function hasMisses({ results }: Report): boolean {
  return results.flatMap(entriesOf).some(({ verdict }) => verdict === "miss" || verdict === "failed");
}

function entriesOf({ row, title, dataplane, outcome }: Result): readonly Entry[] {
  const head = { row, title, dataplane };
  if (outcome.kind !== "measured") return [{ ...head, verdict: outcome.kind, notes: [outcome.reason] }];
  return outcome.measurements.map((measurement) => {
    const { value, base, ratio, verdict } = judge(measurement);
    const { what, unit, allowed, samples, notes = [] } = measurement;
    return {
      ...head,
      what,
      unit,
      measured: value,
      base,
      baseWhat: measurement.base?.what,
      ratio,
      allowed,
      verdict,
      notes,
      samples,
      baseSamples: measurement.base?.samples,
    };
  });
}

/** The baseline of each row, listed once. */
function bases(entries: readonly Entry[]): readonly string[] {
  const words = entries.flatMap(({ row, baseWhat }) =>
    baseWhat === undefined ? [] : [`row ${row} is compared with: ${baseWhat}`],
  );
  return [...new Set(words)];
}

function allowedText({ allowed, ratio, unit }: Entry): string {
  if (allowed === undefined) return "";
  return ratio === undefined ? figure(allowed, unit) : `${allowed.toFixed(2)} ×`;
}

function figure(value: number | undefined, unit: Unit | undefined): string {
  if (value === undefined || unit === undefined) return "";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return unit === "exponent" ? value.toFixed(2) : `${value.toFixed(digits)} ${unit}`;
}

function align(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
