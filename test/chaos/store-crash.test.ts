import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import t from "tap";
import { openStore } from "../../agent/store/open-store.ts";
import { journalName } from "../../agent/store/set-aside.ts";
import { until } from "../support/run.ts";

const child = join(import.meta.dirname, "store-child.ts");
/** `NATGW_RUNS` multiplies the number of runs. */
const multiplier = Number(process.env.NATGW_RUNS ?? 1);
/** At least so many kills, then more while there is time. */
const leastRounds = 8;
const mostRounds = 30 * multiplier;
const endMs = Date.now() + 8000 * multiplier;
/** Maximum writes to wait for before a kill, several compactions long. */
const mostWrites = 60;

t.test("kill -9 at any instant: what was acknowledged is there, in order, without gaps", async (t) => {
  const directory = t.testdir();
  const log = { info() {}, warn() {}, error() {} };
  const found = new Map<string, number>();
  let acknowledged = 0;
  let round = 0;
  const isEnough = () => round >= leastRounds && acknowledged > 100;
  for (; round < mostRounds && !(isEnough() && Date.now() >= endMs); round++) {
    const writer = spawn(process.execPath, [child, "write", directory], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.teardown(() => writer.kill("SIGKILL"));
    let output = "";
    writer.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    // A number that the kill cut short has no newline: it is not counted.
    const written = () => output.split("\n").slice(0, -1).map(Number);
    const closed = once(writer, "close");
    // Every fourth is killed before it wrote anything, the others from their first write to beyond a compaction.
    const goal = 1 + Math.floor(Math.random() * mostWrites);
    if (round % 4 === 3) await sleep(Math.random() * 300);
    else await until(`${goal} writes`, () => written().length >= goal);
    await sleep(Math.random() * 20);
    writer.kill("SIGKILL");
    await closed;
    acknowledged = Math.max(acknowledged, ...written());

    const store = await openStore({ directory, now: Date.now, log });
    const numbers = [...store.current.tombstones.values()];
    found.set(store.recovery.recovered, (found.get(store.recovery.recovered) ?? 0) + 1);
    t.not(store.recovery.recovered, "corrupt", store.recovery.detail);
    t.ok(numbers.length >= acknowledged, `${numbers.length} read back, ${acknowledged} acknowledged`);
    t.ok(
      numbers.every((number, index) => number === index + 1),
      "a prefix of what was asked for",
    );
    await store.close();
    acknowledged = numbers.length;
  }
  t.ok(acknowledged > 100, `${acknowledged} writes, ${round} kills, ${JSON.stringify([...found])}`);
  t.comment(`${acknowledged} writes, ${round} kills, ${JSON.stringify([...found])}`);
  t.notMatch(await readdir(directory), /corrupt/);
});

const skip = process.getuid?.() === 0 ? false : "mounting a small disk takes root";

/** Runs the child on a small disk. The mount is in its own mount namespace and ends with it. */
async function onSmallDisk(mode: "full" | "mounts", directory: string): Promise<readonly string[]> {
  const script = 'mount -t tmpfs -o size=256k none "$1" && exec "$2" "$3" "$4" "$1"';
  const argv = [script, "sh", directory, process.execPath, child, mode];
  const { stdout } = await promisify(execFile)(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-ec", ...argv],
    { timeout: 20_000 },
  );
  return stdout.trim().split("\n");
}

t.test("a disk that becomes full and then read-only", { skip }, async (t) => {
  const directory = t.testdir();
  t.same(await onSmallDisk("full", directory), [
    "empty disk: stored",
    "until full: storage-unavailable ENOSPC",
    "current: true",
    "opened again while full: intact true",
    "still full: storage-unavailable ENOSPC",
    "space again: stored",
    "opened read-only: intact true",
    "read-only: storage-unavailable EROFS",
    "writable again: stored",
    "at last: intact true",
  ]);
  t.same(await readdir(directory), [], "nothing of it outside");
});

t.test("mounts that come and go under a running agent", { skip }, async (t) => {
  const directory = t.testdir();
  t.same(await onSmallDisk("mounts", directory), [
    "at first: stored",
    "a read-only view of the same mounted: stored intact true",
    "another mounted over it: stored intact true",
    "the other unmounted: stored intact true",
    "beside it: 1",
    "unmounted under it: stored intact true",
    "a read-only one mounted: storage-unavailable EROFS",
    "writable at last: stored intact true",
  ]);
  t.same(await readdir(directory), [journalName], "written where no disk was mounted");
});
