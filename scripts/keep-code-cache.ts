/** Preloaded into a program with a starter of code-cache.ts: at its end it writes the code cache of all that was called. */
import { renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type { Script } from "node:vm";
import { crc32 } from "node:zlib";

const [, main = ""] = process.argv;

process.once("exit", () => {
  const { script, sum } = createRequire(import.meta.url)(main) as {
    readonly script: Script;
    readonly sum: number;
  };
  const data = script.createCachedData();
  const sums = Buffer.alloc(8);
  sums.writeUInt32LE(sum, 0);
  sums.writeUInt32LE(crc32(data), 4);
  const file = `${dirname(main)}/compiled/code`;
  writeFileSync(`${file}.new`, Buffer.concat([sums, data]));
  renameSync(`${file}.new`, file);
});
