/** Reads the lines of a file from its end. */
import type { FileHandle } from "node:fs/promises";

const blockBytes = 64 * 1024;
/** A longer line is no record. */
const longestLine = 1024 * 1024;
const newLine = 0x0a;

/** Yields the lines of each block, the last one first. What is appended meanwhile is not read. */
export async function* readBackwards(handle: FileHandle): AsyncGenerator<readonly string[], void, undefined> {
  let end = (await handle.stat()).size;
  let rest = Buffer.alloc(0);
  while (end > 0) {
    const start = Math.max(0, end - blockBytes);
    const block = Buffer.alloc(end - start);
    const { bytesRead } = await handle.read(block, 0, block.length, start);
    // The file was cut short.
    if (bytesRead < block.length) return;
    end = start;
    const text = Buffer.concat([block, rest]);
    const first = start === 0 ? -1 : text.indexOf(newLine);
    rest = start > 0 && first === -1 ? text : text.subarray(0, Math.max(0, first));
    if (rest.length > longestLine) rest = Buffer.alloc(0);
    if (start > 0 && first === -1) continue;
    const lines = text.toString("utf8", first + 1).split("\n");
    yield lines.filter((line) => line !== "").reverse();
  }
}
