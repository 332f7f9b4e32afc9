import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import t from "tap";
import { InstanceLock } from "../../../agent/instance-lock.ts";

const name = `\0natgw-agent-test-${process.pid}`;
const module = new URL("../../../agent/instance-lock.ts", import.meta.url).href;
const program = `
  import { InstanceLock } from ${JSON.stringify(module)};
  const lock = new InstanceLock(${JSON.stringify(name)});
  const says = await lock.start().then(() => "held", (error) => error.code + " " + error.details.pid);
  console.log(says);
  if (process.argv.includes("stay")) setInterval(() => {}, 1000);
`;

/** A process that takes the lock and prints the result, `says`. */
async function holder(wrapper: readonly string[], ...args: readonly string[]) {
  const argv = [...wrapper, process.execPath, "--input-type=module", "-e", program, ...args];
  const child = spawn(argv[0] ?? "", argv.slice(1), {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 20_000,
  });
  const [says] = await once(child.stdout.setEncoding("utf8"), "data");
  return { child, says: String(says).trim() };
}

t.test("a second agent is refused with the first one's pid, until the first one stops", async (t) => {
  const first = new InstanceLock(name);
  const second = new InstanceLock(name);
  await first.start();
  await t.rejects(second.start(), {
    code: "already-running",
    message: `the agent with pid ${process.pid} already serves this network namespace`,
    details: { pid: process.pid },
  });
  await second.stop();
  await first.stop();
  await first.stop();
  await second.start();
  await second.stop();
});

t.test("a lock holder that sends no pid or garbage still holds the lock", async (t) => {
  for (const greeting of [undefined, "not a pid\n", "9".repeat(1 << 20), ""]) {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      if (greeting === "") socket.destroy();
      else if (greeting !== undefined) socket.end(greeting);
    });
    await new Promise<void>((resolve) => server.listen(name, resolve));
    await t.rejects(new InstanceLock(name).start(), {
      code: "already-running",
      message: "another agent already serves this network namespace",
    });
    await new Promise((resolve) => server.close(resolve));
  }
});

t.test("a killed holder leaves nothing behind, and the lock keeps no process alive", async (t) => {
  const { child, says } = await holder([], "stay");
  t.equal(says, "held");
  t.equal((await holder([])).says, `already-running ${child.pid}`);
  child.kill("SIGKILL");
  await once(child, "exit");
  const next = await holder([]);
  t.equal(next.says, "held");
  if (next.child.exitCode === null) await once(next.child, "exit");
  t.equal(next.child.exitCode, 0);
});

t.test(
  "each network namespace has its own",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const lock = new InstanceLock(name);
    await lock.start();
    t.equal((await holder(["unshare", "--net"])).says, "held");
    t.equal((await holder([])).says, `already-running ${process.pid}`);
    await lock.stop();
  },
);
