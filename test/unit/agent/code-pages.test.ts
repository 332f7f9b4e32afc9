/** Pages of Node's own code are taken out of the process only where they are as in the file. */
import { readFileSync, readlinkSync } from "node:fs";
import t from "tap";
import { releaseCodePages, unchangedRanges } from "../../../agent/code-pages.ts";

const node = "/usr/bin/node";
const range = (line: string, rss: number, anonymous: number) =>
  `${line}\nSize: 100 kB\nRss: ${rss} kB\nAnonymous:       ${anonymous} kB\nVmFlags: rd ex`;

t.test("code and constants of the file, without what was written or relocated", async (t) => {
  const smaps = [
    range(`00400000-00500000 r--p 00000000 fe:00 7   ${node}`, 100, 0),
    range(`00500000-00700000 r-xp 00100000 fe:00 7   ${node}`, 100, 0),
    range(`00700000-00800000 r--p 00300000 fe:00 7   ${node}`, 100, 64),
    range(`00800000-00900000 rw-p 00400000 fe:00 7   ${node}`, 100, 0),
    range("7f0000000000-7f0000100000 r-xp 00000000 fe:00 9   /usr/lib/libc.so.6", 100, 0),
    range("7f0000200000-7f0000300000 rw-p 00000000 00:00 0 ", 100, 0),
  ].join("\n");
  t.strictSame(unchangedRanges(smaps, node), [
    { from: 0x400000n, length: 0x100000n },
    { from: 0x500000n, length: 0x200000n },
  ]);
  t.strictSame(unchangedRanges("", node), []);
});

t.test("the process goes on with fewer pages of its code", async (t) => {
  const before = codeKiB();
  await releaseCodePages();
  const after = codeKiB();
  t.ok(after < before - 4_096, `${before} KiB before, ${after} after`);
});

/** Resident pages of the binary. */
function codeKiB(): number {
  const path = readlinkSync("/proc/self/exe");
  const parts = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const own = parts.filter((part) => part.split("\n", 1)[0]?.endsWith(path));
  return own.reduce((sum, part) => sum + Number(/^Rss: +(\d+) kB/m.exec(part)?.[1] ?? 0), 0);
}
