import t from "tap";
import { restore } from "../../../../../agent/kernel/iptables/tools.ts";
import type { Run } from "../../../../../agent/kernel/run.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";

t.test("the deadline of a restore grows with its lines", async (t) => {
  let givenMs = 0;
  const run: Run = async (_argv, options) => {
    givenMs = options?.timeoutMs ?? 0;
    return { exitCode: 0, stdout: "", stderr: "" };
  };
  const restoreLines = async (count: number) => {
    await restore("nft", { table: "nat", input: "-A X\n".repeat(count) }, ipv4, run);
    return givenMs;
  };
  const few = await restoreLines(10);
  t.ok(few >= 60_000);
  t.ok((await restoreLines(100_000)) >= few + 99_000);
});
