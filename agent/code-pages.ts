/**
 * Takes the pages of Node's own code out of this process that it does not use. At the start nearly all of the binary is
 * used once, 48 MiB; an idle agent uses a small part. The pages stay in the page cache, from where they come back one
 * by one when they are used again, and where the kernel may drop them.
 */
import { readFile, readlink } from "node:fs/promises";
import { libcFunction } from "./kernel/libc.ts";

/** A part of this process's memory, as in /proc/self/smaps. */
export interface MappedRange {
  readonly from: bigint;
  readonly length: bigint;
}

/**
 * The parts that map `file` unchanged: not writable, and without pages of their own. A page that the loader relocated is
 * lost if it is taken out.
 *
 * @param smaps the content of /proc/self/smaps
 */
export function unchangedRanges(smaps: string, file: string): readonly MappedRange[] {
  const ranges: MappedRange[] = [];
  let range: MappedRange | undefined;
  for (const line of smaps.split("\n")) {
    const [, from = "", to = "", access = "", path = ""] = rangeLine.exec(line) ?? [];
    if (from !== "") {
      const isOfFile = path === file && !access.includes("w");
      range = isOfFile
        ? { from: BigInt(`0x${from}`), length: BigInt(`0x${to}`) - BigInt(`0x${from}`) }
        : undefined;
    } else if (range !== undefined && line.startsWith("Anonymous:")) {
      if (/^Anonymous: +0 kB$/.test(line)) ranges.push(range);
    }
  }
  return ranges;
}

const rangeLine = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ +(\S.*)$/;

/**
 * Without /proc nothing happens. Other threads do the work: the kernel walks all pages of the process to write
 * /proc/self/smaps, which takes tens of milliseconds with hundreds of MiB.
 */
export async function releaseCodePages(): Promise<void> {
  let ranges: readonly MappedRange[];
  try {
    ranges = unchangedRanges(await readFile("/proc/self/smaps", "utf8"), await readlink("/proc/self/exe"));
  } catch {
    return;
  }
  for (const { from, length } of ranges) await madvise.async(from, length, dontNeed);
}

/** MADV_DONTNEED. The pages of a file are read from it again. */
const dontNeed = 4;
const madvise = libcFunction<[address: bigint, length: bigint, advice: number]>(
  "int madvise(uintptr_t, size_t, int)",
);
