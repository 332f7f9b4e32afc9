/** `scripts/soak`: runs the random suites, round after round, until the time is over. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

interface Suite {
  readonly name: string;
  readonly file: string;
  /** Environment variables that make a round longer than in `scripts/test`. */
  readonly settings: Readonly<Record<string, string>>;
}

interface Outcome {
  readonly suite: string;
  readonly seed: number;
  readonly seconds: number;
  readonly passed: number;
  readonly failed: number;
  /** The suite's own counts: how many kills, how many writes. */
  readonly remarks: readonly string[];
  /** The last lines of its output, if it failed. */
  readonly failure?: string;
}

const usage =
  "usage: scripts/soak [--minutes N] [--seed S] [--kills N] [--runs N] [--operations N] [--packets N] [--cases N] [--suite crash|quick|store|model|attacks|events|random|explain|limits|who|redo]... [-o text|json]";
/** A round that hangs is killed after this time; no suite takes as long, even on a busy machine. */
const roundTimeoutMs = 90 * 60_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    kills: { type: "string", default: "30" },
    runs: { type: "string", default: "1" },
    operations: { type: "string", default: "500" },
    packets: { type: "string", default: "500" },
    cases: { type: "string", default: "24" },
    suite: { type: "string", multiple: true },
    output: { type: "string", short: "o", default: "text" },
    help: { type: "boolean", short: "h", default: false },
  },
});
const minutes = Number(values.minutes);
const firstSeed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const isJson = values.output === "json";

const suites: readonly Suite[] = [
  { name: "crash", file: "test/chaos/crash.test.ts", settings: { NATGW_KILLS: values.kills } },
  { name: "quick", file: "test/faults/quick-churn-leaks.test.ts", settings: { NATGW_RUNS: values.runs } },
  { name: "store", file: "test/chaos/store-crash.test.ts", settings: { NATGW_RUNS: values.runs } },
  { name: "model", file: "test/chaos/model-agrees.test.ts", settings: { NATGW_RUNS: values.runs } },
  {
    name: "attacks",
    file: "test/chaos/attacks.test.ts",
    settings: { NATGW_SECONDS: "60", NATGW_PROBE_MS: "1000" },
  },
  {
    name: "events",
    file: "test/chaos/watchers.test.ts",
    settings: { NATGW_CHANGES: "100000", NATGW_READERS: "20", NATGW_KILLS: "5" },
  },
  {
    name: "random",
    file: "test/support/random-operations/main.ts",
    // For each dataplane and binding.
    settings: { NATGW_OPERATIONS: values.operations },
  },
  { name: "explain", file: "test/netns/explain.test.ts", settings: { NATGW_CASES: values.packets } },
  { name: "who", file: "test/support/flow-load/main.ts", settings: { NATGW_SECONDS: "60" } },
  { name: "limits", file: "test/support/limit-accuracy/main.ts", settings: { NATGW_SECONDS: "5" } },
  {
    name: "redo",
    file: "test/support/kube-ovn-simulator/main.ts",
    // Interleavings of all combinations together.
    settings: { NATGW_CASES: values.cases },
  },
];
const chosen = suites.filter(({ name }) => values.suite === undefined || values.suite.includes(name));
const isPositive = (text: string) => Number.isInteger(Number(text)) && Number(text) > 0;

const isUsable =
  minutes > 0 &&
  Number.isInteger(firstSeed) &&
  isPositive(values.kills) &&
  isPositive(values.runs) &&
  isPositive(values.operations) &&
  isPositive(values.packets) &&
  isPositive(values.cases) &&
  chosen.length === (values.suite === undefined ? suites.length : new Set(values.suite).size) &&
  ["text", "json"].includes(values.output);
if (values.help || !isUsable) {
  process.stderr.write(`${usage}\n`);
  process.exitCode = values.help ? 0 : 2;
} else process.exitCode = await soak();

async function soak(): Promise<number> {
  say(`seed ${firstSeed}, ${minutes} minutes, suites: ${chosen.map(({ name }) => name).join(" ")}`);
  const startMs = performance.now();
  const outcomes: Outcome[] = [];
  for (let round = 0; performance.now() - startMs < minutes * 60_000; round++) {
    const suite = chosen[round % chosen.length];
    if (suite === undefined) break;
    const outcome = await run(suite, firstSeed + round);
    outcomes.push(outcome);
    say(lineOf(outcome));
    if (outcome.failure !== undefined) say(outcome.failure);
  }
  const seconds = Math.round((performance.now() - startMs) / 1000);
  const failures = outcomes.filter(({ failure }) => failure !== undefined);
  if (isJson) {
    process.stdout.write(`${JSON.stringify({ seed: firstSeed, seconds, rounds: outcomes }, undefined, 2)}\n`);
  } else process.stdout.write(summaryOf(outcomes, seconds));
  return failures.length > 0 ? 1 : 0;
}

/** Runs one suite once, in a process of its own: a test file is a program that prints TAP. Its remarks are shown as they come. */
async function run({ name, file, settings }: Suite, seed: number): Promise<Outcome> {
  const startMs = performance.now();
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, ...settings, NATGW_SEED: String(seed), TAP_TIMEOUT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
    timeout: roundTimeoutMs,
    killSignal: "SIGKILL",
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const lines: string[] = [];
  const remarks: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    const remark = /^ *# (?!Subtest|time=|\{ total)(.*)$/.exec(line)?.[1];
    if (remark === undefined) continue;
    remarks.push(remark);
    say(`  ${name}: ${remark}`);
  }
  const output = lines.join("\n");
  const exitCode = await ended;
  // "# { total: 12, pass: 10, fail: 2 }", which counts assertions; it is missing if the file died.
  const summary = /^# \{ (total: .*) \}$/m.exec(output)?.[1] ?? "";
  const count = (what: string) => Number(new RegExp(`\\b${what}: (\\d+)`).exec(summary)?.[1] ?? 0);
  const failed = count("fail");
  return {
    suite: name,
    seed,
    seconds: Math.round((performance.now() - startMs) / 1000),
    passed: count("pass"),
    failed,
    remarks,
    ...((exitCode !== 0 || failed > 0) && { failure: failureOf(output, exitCode) }),
  };
}

/** The output from the first failure on, at most 80 lines. */
function failureOf(output: string, exitCode: number | null): string {
  const at = output.search(/^ *not ok /m);
  const lines = at < 0 ? output.split("\n").slice(-40) : output.slice(at).split("\n").slice(0, 80);
  return [`exit ${exitCode}`, ...lines].join("\n");
}

function lineOf({ suite, seed, seconds, passed, failed, failure }: Outcome): string {
  const verdict = failure === undefined ? "pass" : "FAIL";
  return `${verdict} ${suite} seed ${seed}: ${passed} passed, ${failed} failed, ${seconds} s`;
}

function summaryOf(outcomes: readonly Outcome[], seconds: number): string {
  const lines = chosen.map(({ name }) => {
    const rounds = outcomes.filter(({ suite }) => suite === name);
    const failed = rounds.filter(({ failure }) => failure !== undefined);
    const seeds = failed.map(({ seed }) => seed).join(" ");
    return `${name}: ${rounds.length} rounds, ${failed.length} failed${seeds === "" ? "" : `, seeds ${seeds}`}`;
  });
  return `${[`soak of ${seconds} s, seed ${firstSeed}`, ...lines].join("\n")}\n`;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
