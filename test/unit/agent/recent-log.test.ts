import t from "tap";
import { createLog } from "../../../agent/log.ts";
import { RecentLog } from "../../../agent/recent-log.ts";

t.test("the last lines are kept, and all go on", async (t) => {
  const written: string[] = [];
  const recent = new RecentLog({ write: (line) => written.push(line) });
  const log = createLog("info", { version: "0" }, recent);
  for (let number = 1; number <= 5_000; number++) log.info({ number }, "counted");
  t.equal(written.length, 5_000);
  const lines = recent.text.trimEnd().split("\n");
  t.ok(lines.length > 400 && lines.length <= 1_000, String(lines.length));
  t.match(JSON.parse(lines.at(-1) ?? ""), { number: 5_000, msg: "counted" });
  t.equal(lines.at(-2), written.at(-2)?.trimEnd(), "without a gap");
});

t.test("long lines do not fill the memory", async (t) => {
  const recent = new RecentLog({ write: () => undefined });
  for (let line = 0; line < 20; line++) recent.write(`${"x".repeat(100_000)}\n`);
  t.ok(recent.text.length <= 256 * 1024);
  recent.write(`${"y".repeat(1_000_000)}\n`);
  t.ok(recent.text.length <= 256 * 1024, "one alone is too long");
  recent.write("z\n");
  t.equal(recent.text, "z\n");
});
