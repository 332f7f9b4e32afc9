/** `scripts/bench`: measures the agent against limits that are measured in the same run. */
import { Bench } from "./bench.ts";
import type { DataplaneName } from "./dataplanes.ts";
import { describeMachine } from "./machine.ts";
import { type Row, Skip } from "./measurement.ts";
import { type Options, parseOptions, UsageError, usage } from "./options.ts";
import { hasMisses, type Report, type Result, toJson, toTable } from "./report.ts";
import { rowIds, rows } from "./rows.ts";

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args, rowIds);
  const startedAt = new Date().toISOString();
  const machine = describeMachine();
  const results: Result[] = [];
  for (const dataplane of options.dataplanes) results.push(...(await measureAll(options, dataplane)));
  results.sort((a, b) => Number(a.row) - Number(b.row));
  const { objects, runs, isQuick, isFull } = options;
  const report: Report = { startedAt, machine, options: { objects, runs, isQuick, isFull }, results };
  console.log(options.isJson ? toJson(report) : toTable(report));
  process.exitCode = isStopping ? 130 : hasMisses(report) ? 1 : 0;
}

/** True after a signal asked to end. What was measured until then is reported. */
let isStopping = false;

async function measureAll(options: Options, dataplane: DataplaneName): Promise<readonly Result[]> {
  const chosen = rows.filter(
    ({ id, dataplanes }) => dataplanes.includes(dataplane) && (options.rows?.includes(id) ?? true),
  );
  const results: Result[] = [];
  let current = "";
  const bench = new Bench(options, dataplane, (text) => say(`${current}: ${text}`));
  const stop = (signal: NodeJS.Signals) => {
    say(`${signal}: removing everything that was created`);
    isStopping = true;
    bench.clear().catch((error: unknown) => say(String(error)));
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    for (const row of chosen) {
      if (isStopping) break;
      current = `row ${row.id} ${dataplane}`;
      say(`${current}: ${row.title}`);
      const outcome = await measure(row, bench, options.rowTimeoutMs);
      results.push({ row: row.id, title: row.title, dataplane, outcome });
    }
  } finally {
    await bench.clear();
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
  return results;
}

/** If a row fails, the others still run. */
async function measure(row: Row, bench: Bench, timeoutMs: number): Promise<Result["outcome"]> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`took longer than ${timeoutMs / 1000} s`)), timeoutMs);
  const measuring = row.measure(bench);
  try {
    return { kind: "measured", measurements: await Promise.race([measuring, late.promise]) };
  } catch (error) {
    // Removing its plants ends the row.
    await bench.clear();
    await measuring.catch(() => undefined);
    if (error instanceof Skip) return { kind: "skipped", reason: error.message };
    say(`row ${row.id}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  say(`${error.message}\n${usage}`);
  process.exitCode = 2;
}
