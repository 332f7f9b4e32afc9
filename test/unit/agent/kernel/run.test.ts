import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { createRun, firstLines } from "../../../../agent/kernel/run.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { until } from "../../../support/run.ts";

const sh = (script: string) => ["sh", "-c", script];

async function failureOf(work: Promise<unknown>): Promise<GatewayError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

t.test("returns a command's output, given its input", async (t) => {
  const forks: string[] = [];
  const run = createRun({ onStart: (command) => forks.push(command) });
  const { exitCode, stdout, stderr } = await run(sh('cat; echo "$LC_ALL" "$0" >&2; exit 3'), {
    stdin: "a\nb\n",
    exitCodes: [0, 3],
  });
  t.equal(exitCode, 3);
  t.equal(stdout, "a\nb\n", "final newline kept");
  t.match(stderr, /^C /);
  await run(["printf", "%s", "$(id) ; x | y"]).then(({ stdout }) =>
    t.equal(stdout, "$(id) ; x | y", "no shell"),
  );
  t.same(forks, ["sh", "printf"]);
  const inside = createRun({ prefix: ["env", "WHERE=inside"], onStart: (command) => forks.push(command) });
  t.equal((await inside(sh("echo $WHERE"))).stdout, "inside\n");
  t.equal(forks.at(-1), "sh", "counted by its own name");
});

t.test("a failure names the command, how it ended and its stderr", async (t) => {
  const run = createRun({ timeoutMs: 5_000 });
  const refused = await failureOf(run(sh("echo '# Warning: old' >&2; echo no such chain >&2; exit 2")));
  t.equal(refused.code, "command-failed");
  t.equal(refused.message, "sh exited with 2: no such chain");
  t.match(refused.details, { command: "sh", ending: "exited", exitCode: 2, stderr: "no such chain" });
  t.match((await failureOf(run(["/no/such/tool"]))).details, { ending: "not-started" });
  t.match((await failureOf(run(sh("kill -9 $$")))).details, { ending: "killed" });
  t.equal(firstLines("\n a \n\nb\nc\nd\ne\n", 2), "a; b");
});

t.test("a command that hangs, prints endlessly or is cancelled is ended", async (t) => {
  const run = createRun({ timeoutMs: 50, maxOutputBytes: 1_000 });
  const slow = await failureOf(run(sh("echo waiting >&2; exec sleep 30")));
  t.match(slow.message, /^sh did not end within 50 ms and was killed: waiting$/);
  t.match((await failureOf(run(sh("trap '' TERM; while :; do sleep 0.1; done")))).details, {
    ending: "timed-out",
  });
  t.match((await failureOf(run(sh("yes"), { timeoutMs: 5_000 }))).details, { ending: "cut-short" });

  const controller = new AbortController();
  const cancelled = failureOf(run(sh("exec sleep 30"), { signal: controller.signal, timeoutMs: 20_000 }));
  controller.abort(new Error("stopping"));
  const error = await cancelled;
  t.match(error.details, { ending: "cancelled" });
  t.match(error.cause, { message: "stopping" });
  t.match((await failureOf(run(sh("exit 0"), { signal: controller.signal }))).details, {
    ending: "cancelled",
  });
});

t.test("child processes that keep a command's pipes open do not block the caller", async (t) => {
  const run = createRun({ timeoutMs: 50 });
  const script = "sleep 6 & exit 0";
  t.match((await failureOf(run(sh(script)))).details, { ending: "hung" });
});

t.test("a command does not outlive the agent", async (t) => {
  const file = join(t.testdir({}), "pid");
  const program = `
    import { existsSync } from "node:fs";
    import { createRun } from ${JSON.stringify(new URL("../../../../agent/kernel/run.ts", import.meta.url).href)};
    void createRun()(["sh", "-c", 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 30', ${JSON.stringify(file)}]);
    setInterval(() => existsSync(${JSON.stringify(file)}) && process.exit(7), 10);
  `;
  const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { timeout: 20_000 });
  t.equal(status, 7);
  const pid = readFileSync(file, "utf8").trim();
  await until("the command to end", () => !existsSync(`/proc/${pid}`));
});
