import t from "tap";
import {
  parseDuration,
  parseFlag,
  parseKind,
  parseNumber,
  parsePossibleReference,
  parseReference,
  parseTime,
} from "../../../../agent/cli/arguments.ts";
import { exitCodes } from "../../../../agent/cli/failures.ts";

const usage = { message: /./, exitCode: exitCodes.usage };

t.test("kinds and references", async (t) => {
  for (const text of ["fip", "fips", "Fip", "FIPS"]) t.equal(parseKind(text), "fips");
  t.throws(() => parseKind("pods"), usage);
  t.throws(() => parseKind("s"), usage);
  t.same(parseReference("fip", "a"), { collection: "fips", name: "a" });
  t.same(parseReference("fips/a", undefined), { collection: "fips", name: "a" });
  t.same(parsePossibleReference("eip", undefined), { collection: "eips", name: undefined });
  t.throws(() => parseReference("fip", undefined), usage);
  t.throws(() => parseReference("fip/a", "b"), usage);
});

t.test("durations, numbers, flags and times", async (t) => {
  const durations = ["0", "500ms", "30s", "5m", "2h", "1d"];
  t.same(
    durations.map((text) => parseDuration(text, "--wait")),
    [0, 500, 30_000, 300_000, 7_200_000, 86_400_000],
  );
  for (const text of ["", "5", "5 s", "-5s", "1.5s", "s", "5w"])
    t.throws(() => parseDuration(text, "--wait"), usage, text);
  t.throws(() => parseDuration("6m", "--wait", 300_000), { message: /at most 5m/ });
  t.equal(parseNumber("20", "--limit", 1, 1_000), 20);
  for (const text of ["0", "1001", "x", "", "1e2"])
    t.throws(() => parseNumber(text, "--limit", 1, 1_000), usage, text);
  t.same([parseFlag("true", "--ready"), parseFlag("false", "--ready")], [true, false]);
  t.throws(() => parseFlag("yes", "--ready"), usage);
  t.equal(parseTime("10m", "--at", 1_000_000), 400_000);
  t.equal(parseTime("2026-01-01T00:00:00Z", "--at", 0), Date.parse("2026-01-01T00:00:00Z"));
  for (const text of ["yesterday", "2026-01-01", "10", "2026-99-01T00:00:00Z"])
    t.throws(() => parseTime(text, "--at", 0), usage, text);
});
