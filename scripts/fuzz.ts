/** `scripts/fuzz`: runs the fuzz targets until the time is over. Each round is a process of its own, so that a hang is seen. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import type { Finding, Tally } from "../test/support/fuzz/fuzz.ts";
import { parserTargets } from "../test/support/fuzz/targets.ts";

interface Total {
  cases: number;
  refused: number;
  rounds: number;
}

const usage = "usage: scripts/fuzz [--minutes N] [--seed S] [--target NAME]... [--keep] [-o text|json]";
/** A round takes seconds. */
const roundTimeoutMs = 120_000;
const casesOfParser = 20_000;
const casesOfHttp = 2_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    target: { type: "string", multiple: true },
    keep: { type: "boolean", default: false },
    output: { type: "string", short: "o", default: "text" },
    help: { type: "boolean", short: "h", default: false },
  },
});
const minutes = Number(values.minutes);
const firstSeed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const known = [...parserTargets.map(({ name }) => name), "HTTP"];
const names = values.target ?? known;

if (values.help) {
  process.stdout.write(`${usage}\ntargets: ${known.join(", ")}\n`);
  process.exit(0);
}
const unknown = names.find((name) => !known.includes(name));
if (unknown !== undefined) stop(`there is no target ${unknown}; targets: ${known.join(", ")}`);
if (!(minutes > 0) || !Number.isSafeInteger(firstSeed)) stop(`--minutes and --seed are numbers\n${usage}`);
if (values.output !== "text" && values.output !== "json") stop(usage);

const endMs = Date.now() + minutes * 60_000;
const totals = new Map<string, Total>();
const findings: Finding[] = [];
for (let seed = firstSeed; findings.length === 0 && (seed === firstSeed || Date.now() < endMs); seed++) {
  for (const name of names) {
    const tally = await playRound(name, seed);
    const total = totals.get(name) ?? { cases: 0, refused: 0, rounds: 0 };
    totals.set(name, {
      cases: total.cases + tally.cases,
      refused: total.refused + tally.refused,
      rounds: total.rounds + 1,
    });
    if (tally.finding !== undefined) findings.push(tally.finding);
    const sum = [...totals.values()].reduce((cases, one) => cases + one.cases, 0);
    process.stderr.write(
      `seed ${seed}, ${name}: ${tally.cases} cases, ${tally.refused} refused; ${sum} in all\n`,
    );
    if (Date.now() > endMs) break;
  }
}
if (values.keep && findings.length > 0) await keep(findings);
report();
process.exitCode = findings.length === 0 ? 0 : 1;

async function playRound(name: string, seed: number): Promise<Tally> {
  const round = fileURLToPath(new URL("../test/support/fuzz/round.ts", import.meta.url));
  const cases = name === "HTTP" ? casesOfHttp : casesOfParser;
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [round, name, String(seed), String(cases)],
      {
        timeout: roundTimeoutMs,
        killSignal: "SIGKILL",
      },
    );
    return JSON.parse(stdout);
  } catch (error) {
    const { killed, stderr = "" } = error as { readonly killed?: boolean; readonly stderr?: string };
    const problem =
      killed === true ? `no end after ${roundTimeoutMs} ms` : `the process died: ${stderr.slice(-2_000)}`;
    return { cases: 0, refused: 0, finding: { target: name, seed, input: { text: "" }, problem } };
  }
}

async function keep(found: readonly Finding[]): Promise<void> {
  const file = new URL("../test/fixtures/fuzz.json", import.meta.url);
  const kept: readonly Finding[] = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, `${JSON.stringify([...kept, ...found], null, 2)}\n`);
}

function report(): void {
  if (values.output === "json") {
    process.stdout.write(
      `${JSON.stringify({ seed: firstSeed, targets: Object.fromEntries(totals), findings }, null, 2)}\n`,
    );
    return;
  }
  let sum = 0;
  for (const [name, { cases, refused, rounds }] of totals) {
    sum += cases;
    const share = cases === 0 ? "-" : `${Math.round((100 * refused) / cases)} %`;
    process.stdout.write(
      `${name.padEnd(24)} ${String(cases).padStart(9)} cases in ${rounds} rounds, refused ${share}\n`,
    );
  }
  process.stdout.write(`${sum} cases from seed ${firstSeed}, faults: ${findings.length}\n`);
  for (const { target, seed, input, problem } of findings)
    process.stdout.write(`FAULT of ${target}, seed ${seed}: ${problem}\n  input: ${JSON.stringify(input)}\n`);
}

function stop(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
