/** Checks `docs/tutorial.md`: its shell blocks run in one shell and must print its text blocks. */
import { spawnSync } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { standingLabs } from "../support/lab.ts";
import { run } from "../support/run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const mark = "=== block";

interface Block {
  readonly commands: string;
  readonly output: string;
}

/** Each shell block with the text block that follows it. */
function blocksOf(page: string): readonly Block[] {
  const fence = /^```sh\n([\s\S]*?)^```\n(?:\n```text\n([\s\S]*?)^```\n)?/gm;
  return [...page.matchAll(fence)].map(([, commands = "", output = ""]) => ({ commands, output }));
}

/** The expected text as a pattern, in which `…` stands for anything. */
function asPattern(output: string): RegExp {
  const parts = output
    .trim()
    .split("…")
    .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${parts.join("[\\s\\S]*")}$`);
}

async function clear(): Promise<void> {
  for (const lab of await standingLabs("natgw-tutorial")) await lab.down();
  await rm("/tmp/natgw-tutorial", { recursive: true, force: true });
}

t.before(clear);
t.teardown(clear);

t.test("every block of the tutorial prints what the page says", async (t) => {
  const blocks = blocksOf(await readFile(`${root}/docs/tutorial.md`, "utf8"));
  t.ok(blocks.length > 5);
  const script = blocks
    .flatMap(({ commands }, index) => [commands, `echo; echo "${mark} ${index}"`])
    .join("\n");
  // The reader's shell has neither the options that the test runner adds to Node nor the project's own Node.
  const directories = (process.env.PATH ?? "").split(":").filter((name) => !name.includes("/node_modules/"));
  const shell = ["bash", "-c", `set -euo pipefail\ncd '${root}'\n${script}`];
  const args = ["-u", "NODE_OPTIONS", `PATH=${directories.join(":")}`, ...shell];
  const printed = await run("env", args, { timeoutMs: 300_000 });
  const outputs = printed.split(new RegExp(`${mark} \\d+\\n`));
  for (const [index, { commands, output }] of blocks.entries()) {
    if (output !== "") t.match((outputs[index] ?? "").trim(), asPattern(output), commands);
  }
});

t.test("what was built tells an older Node what it needs", async (t) => {
  const older = 'Object.defineProperty(process.versions, "node", { value: "20.20.2" })';
  for (const program of ["agent", "cli"]) {
    const args = [
      "--import",
      `data:text/javascript,${older}`,
      `${root}/dist/${program}/main.js`,
      "--version",
    ];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    t.not(status, 0);
    t.match(stderr, /^natgw(?:-agent|ctl): Node 24 or newer is needed, this is v/);
  }
});
