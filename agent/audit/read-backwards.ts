/** Reads the lines of a file from its end. */
import type { FileHandle } from "node:fs/promises";

export interface ReadBackwardsOptions {
  /** What is before these last bytes is not read. */
  readonly maxBytes: number;
  readonly blockBytes?: number;
  /** In bytes. A longer line is left out. */
  readonly longestLine?: number;
}

const newLine = 0x0a;

/** Yields the lines of each block, the last one first. What is appended meanwhile is not read. */
export async function* readBackwards(
  handle: Pick<FileHandle, "stat" | "read">,
  { maxBytes, blockBytes = 64 * 1024, longestLine = 1024 * 1024 }: ReadBackwardsOptions,
): AsyncGenerator<readonly string[], void, undefined> {
  let end = (await handle.stat()).size;
  const floor = Math.max(0, end - maxBytes);
  /** The end of a line that begins in an earlier block. */
  let rest: Buffer = Buffer.alloc(0);
  /** That line is left out. */
  let isTooLong = false;
  while (end > floor) {
    const start = Math.max(floor, end - blockBytes);
    const block = Buffer.alloc(end - start);
    const { bytesRead } = await handle.read(block, 0, block.length, start);
    // The file was cut short.
    if (bytesRead < block.length) return;
    end = start;
    let text: Buffer = rest.length === 0 ? block : Buffer.concat([block, rest]);
    if (isTooLong) {
      const at = text.lastIndexOf(newLine);
      if (at === -1) continue;
      isTooLong = false;
      text = text.subarray(0, at);
    }
    // The first line may begin in an earlier block.
    const first = start === 0 ? -1 : text.indexOf(newLine);
    const isPart = start > 0 && first === -1;
    rest = start === 0 ? text.subarray(0, 0) : isPart ? text : text.subarray(0, first);
    if (rest.length > longestLine) {
      isTooLong = true;
      rest = rest.subarray(0, 0);
    }
    if (!isPart) yield linesOf(text.subarray(first + 1), longestLine);
  }
}

/** The last one first, without empty ones. */
function linesOf(text: Buffer, longestLine: number): readonly string[] {
  const lines: string[] = [];
  for (let to = text.length; to > 0; ) {
    const begin = text.lastIndexOf(newLine, to - 1) + 1;
    if (begin < to && to - begin <= longestLine) lines.push(text.toString("utf8", begin, to));
    to = begin - 1;
  }
  return lines;
}
