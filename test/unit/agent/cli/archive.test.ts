import { execFileSync } from "node:child_process";
import t from "tap";
import { archive } from "../../../../agent/cli/archive.ts";

t.test("tar reads what was put into it", async (t) => {
  const files = [
    { name: "report/manifest.json", content: "{}" },
    { name: "report/empty.txt", content: "" },
    { name: "report/long.txt", content: "ü".repeat(100_000) },
    { name: "report/exact.txt", content: "x".repeat(512) },
  ];
  const input = archive(files, 1_767_225_600);
  t.equal(
    execFileSync("tar", ["tz"], { input, encoding: "utf8" }),
    `${files.map(({ name }) => name).join("\n")}\n`,
  );
  for (const { name, content } of files)
    t.equal(execFileSync("tar", ["xzO", name], { input, encoding: "utf8" }), content, name);
  t.match(
    execFileSync("tar", ["tzv", "--utc", "-f", "-"], { input, encoding: "utf8" }),
    /-rw------- .* 2026-01-01 00:00/,
  );
});
