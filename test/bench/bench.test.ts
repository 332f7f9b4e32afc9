/** Tests the benchmarks themselves: their computations, and that they still run. */
import { execa } from "execa";
import t from "tap";
import { judge, type Measurement } from "./measurement.ts";
import { parseOptions, UsageError } from "./options.ts";
import { describeProfile } from "./profile.ts";
import { rowIds } from "./rows.ts";
import { eipNumbers, setOf, withDnatsAndSnats } from "./scenario.ts";
import { growthExponent, median, quantile } from "./statistics.ts";

t.test("statistics", async (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.equal(quantile([10, 20, 30], 1), 30);
  t.ok(Number.isNaN(median([])));
  const sizes = [100, 1_000, 10_000];
  for (const exponent of [0, 0.2, 1, 2]) {
    const found = growthExponent(sizes.map((size) => [size, 7 * size ** exponent]));
    t.ok(Math.abs(found - exponent) < 1e-9, `finds the exponent ${exponent}`);
  }
});

t.test("with a base the ratio is judged, else the value", async (t) => {
  const measurement: Measurement = { what: "", unit: "ms", samples: [2, 3, 100], allowed: 1.5 };
  t.match(judge({ ...measurement, base: { what: "", samples: [2, 2, 50] } }), {
    ratio: 1.5,
    verdict: "pass",
  });
  t.match(judge({ ...measurement, base: { what: "", samples: [1] } }), { ratio: 3, verdict: "miss" });
  t.match(judge(measurement), { value: 3, ratio: undefined, verdict: "miss" });
  const { allowed: _, ...free } = measurement;
  t.match(judge(free), { verdict: "info" });
});

t.test("options", async (t) => {
  t.match(parseOptions([], rowIds), { objects: 10_000, runs: 5, rows: undefined, isJson: false });
  t.match(parseOptions(["--quick", "-o", "json", "--rows", "4,1"], rowIds), {
    objects: 1_000,
    runs: 3,
    rows: ["4", "1"],
    isJson: true,
  });
  for (const bad of ["--rows=99", "--objects=1e9", "--runs=0", "--what", "x", "--rows"]) {
    t.equal(refusal([bad]), "UsageError", bad);
  }
});

t.test("the scenario contains every EIP that it uses, and all names are unique", async (t) => {
  const scenario = withDnatsAndSnats(300);
  const { eips = [], fips = [], dnats = [], snats = [] } = setOf(scenario, 1);
  t.equal(eips.length, eipNumbers(scenario).length);
  t.same([fips.length, dnats.length, snats.length], [300, 60, 3]);
  const names = new Set(eips.map((eip) => Reflect.get(eip, "name")));
  for (const user of [...fips, ...dnats, ...snats]) t.ok(names.has(Reflect.get(user, "eip")));
  const services = dnats.map((dnat) => `${Reflect.get(dnat, "eip")}:${Reflect.get(dnat, "externalPort")}`);
  t.equal(new Set(services).size, dnats.length);
});

t.test("a profile lists its functions, a recursive one once", async (t) => {
  const frame = (functionName: string) => ({ functionName, url: "", lineNumber: 0 });
  const text = describeProfile({
    nodes: [
      { id: 1, callFrame: frame("(root)"), children: [2] },
      { id: 2, callFrame: frame("outer"), children: [3] },
      { id: 3, callFrame: frame("outer"), children: [4] },
      { id: 4, callFrame: frame("inner") },
    ],
    samples: [2, 3, 4],
    timeDeltas: [1_000, 2_000, 4_000],
  });
  t.match(text, /^ {2}7 ms in total/);
  t.match(text, /self time:\n +4 ms {2}inner\n +3 ms {2}outer\n/);
  t.match(text, /total time:\n +7 ms {2}outer\n +4 ms {2}inner$/);
});

t.test("a few rows at a small size, in real namespaces", async (t) => {
  const main = new URL("main.ts", import.meta.url).pathname;
  const options = ["--rows", "3,4", "--objects", "20", "--runs", "1", "--quick", "--sources", "-o", "json"];
  // The limits mean nothing here: 1 says that one was missed.
  const { stdout } = await execa(process.execPath, [main, ...options, "--dataplanes", "iptables-nft"], {
    timeout: 200_000,
    reject: false,
  });
  const report = JSON.parse(stdout) as {
    results: readonly { row: string; verdict: string; ratio: number }[];
  };
  t.same(
    report.results.map(({ row }) => row),
    ["3", "4"],
  );
  for (const { row, verdict, ratio } of report.results) {
    t.match(verdict, /^(pass|miss)$/, `row ${row} was measured`);
    t.ok(ratio > 0);
  }
});

function refusal(args: readonly string[]): string | undefined {
  try {
    parseOptions(args, rowIds);
    return undefined;
  } catch (error) {
    return error instanceof UsageError ? "UsageError" : String(error);
  }
}
