/** The command line of `scripts/bench`. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { BenchSettings } from "./bench.ts";
import { type DataplaneName, dataplaneNames } from "./dataplanes.ts";

export interface Options extends BenchSettings {
  /** Ids of rows. `undefined`: all. */
  readonly rows: readonly string[] | undefined;
  readonly dataplanes: readonly DataplaneName[];
  readonly isJson: boolean;
  /** Maximum time per row and dataplane. */
  readonly rowTimeoutMs: number;
}

/** Running from sources adds the memory of the compiler, so the shipped bundle is measured. */
const agentMains = {
  built: fileURLToPath(new URL("../../dist/agent/main.js", import.meta.url)),
  sources: fileURLToPath(new URL("../../agent/main.ts", import.meta.url)),
};

export class UsageError extends Error {}

export const usage = `usage: scripts/bench [options]
  --rows 1,4          some rows only, by number
  --dataplanes a,b    of ${dataplaneNames.join(", ")}; default: all
  --objects 10000     EIPs, each with a FIP
  --runs 5            samples of each side; quick rows take more
  --quick             1,000 objects, 3 runs
  --full              the leak check with 100,000 changes
  --profile           CPU profiles of the agent during the measurement, and where its time goes
  --sources           run the sources instead of the built agent
  --timeout 900       seconds for one row over one dataplane
  -o json             JSON on stdout instead of a table`;

/** Throws {@link UsageError}. */
export function parseOptions(args: readonly string[], knownRows: readonly string[]): Options {
  const values = parse(args);
  const isQuick = values.quick;
  return {
    rows: values.rows === undefined ? undefined : among("--rows", values.rows, knownRows),
    dataplanes: among("--dataplanes", values.dataplanes ?? dataplaneNames.join(","), dataplaneNames),
    objects: integer("--objects", values.objects ?? (isQuick ? "1000" : "10000"), 10, 20_000),
    runs: integer("--runs", values.runs ?? (isQuick ? "3" : "5"), 1, 100),
    isQuick,
    isFull: values.full,
    agentMain: values.sources ? agentMains.sources : agentMains.built,
    profileDirectory: values.profile ? join(tmpdir(), "natgw-bench-profiles") : undefined,
    rowTimeoutMs: integer("--timeout", values.timeout ?? "900", 10, 86_400) * 1000,
    isJson: among("-o", values.output ?? "table", ["table", "json"])[0] === "json",
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        rows: { type: "string" },
        dataplanes: { type: "string" },
        objects: { type: "string" },
        runs: { type: "string" },
        timeout: { type: "string" },
        quick: { type: "boolean", default: false },
        full: { type: "boolean", default: false },
        profile: { type: "boolean", default: false },
        sources: { type: "boolean", default: false },
        output: { type: "string", short: "o" },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function among<const T extends string>(option: string, text: string, known: readonly T[]): readonly T[] {
  return text.split(",").map((word) => {
    const found = known.find((name) => name === word);
    if (found === undefined) throw new UsageError(`${option}: ${word} is none of ${known.join(", ")}`);
    return found;
  });
}

function integer(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`${option}: ${text} is no whole number from ${least} to ${most}`);
}
