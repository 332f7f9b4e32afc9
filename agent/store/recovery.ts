/**
 * Reads a journal back. It is intact; torn, which is what an interrupted write leaves and loses nothing that was
 * acknowledged; corrupt: nothing of it is used and the state is unset; or too new: a newer version wrote what this one must
 * not use, the state is unset and the file is left alone. A journal that cannot be read is never taken for an empty one.
 */
import { join } from "node:path";
import type { Log } from "../log.ts";
import { type Codec, SchemaError, type UnrecognizedPart } from "./codec.ts";
import type { StateDirectory, StateFile } from "./directory.ts";
import { isJsonObject } from "./json.ts";
import { scanRecords } from "./records.ts";
import { copyAside, journalName, moveAside, newestAside, temporaryName } from "./set-aside.ts";

/** Paths that are reported of what was not recognized. */
const maxUnrecognized = 20;

/** How the state was found at the start; `corrupt` and `too-new` make the gateway degraded. */
export interface Recovery {
  readonly recovered: "fresh" | "intact" | "torn" | "corrupt" | "too-new";
  /** Path of the damaged bytes. */
  readonly setAside?: string;
  /** In words, for the log and the status; empty where there is nothing to say. */
  readonly detail: string;
  /** What a newer version stored that this one does not know: it has no effect and is kept. The first 20 paths. */
  readonly unrecognized?: readonly UnrecognizedPart[];
}

/** In words, the first few by name. */
export function describeUnrecognized(parts: readonly UnrecognizedPart[]): string {
  const named = parts.slice(0, 5).map(({ path, count }) => `${path} (${count})`);
  const more = parts.length > named.length ? " and more" : "";
  return `a newer version stored what this one does not know; it has no effect and is kept: ${named.join(", ")}${more}`;
}

/** What the journal continues from. */
export interface Recovered<State> {
  readonly state: State;
  readonly seq: number;
  /** The file that was read; `undefined` where none of ours has the journal's name. */
  readonly id: string | undefined;
  /** The same, cut to `length` and open; `undefined` where that failed or the file is to be replaced. */
  readonly file: StateFile | undefined;
  /** The file holds `length` good bytes of the current format and no more: it can be continued once it opens. */
  readonly isWhole: boolean;
  readonly length: number;
  /** Bytes of the snapshot that the file begins with. */
  readonly snapshotLength: number;
  /** Why the file that has the journal's name is not ours. A corrupt one is moved aside by the next write, one too new stays. */
  readonly obstacle: { readonly kind: "corrupt" | "too-new"; readonly detail: string } | undefined;
  readonly recovery: Recovery;
}

/** Reads the journal and repairs what can be repaired. It is read as well where the disk takes no writes. */
export async function recover<State, Change>(
  directory: StateDirectory,
  codec: Codec<State, Change>,
  now: () => number,
  log: Pick<Log, "warn">,
): Promise<Recovered<State>> {
  const unset = {
    state: codec.empty,
    seq: 0,
    id: undefined,
    file: undefined,
    isWhole: false,
    length: 0,
    snapshotLength: 0,
    obstacle: undefined,
  };
  const names = await directory.list();
  if (names.includes(temporaryName)) {
    await attempt("remove an unfinished journal", () => directory.remove(temporaryName));
  }
  const found = await directory.read(journalName);
  await directory.sync();
  if (found === undefined) return { ...unset, recovery: withoutJournal(directory, names) };

  const { bytes, id } = found;
  const reading = readJournal(bytes, codec);
  const { verdict, detail } = reading;
  switch (verdict) {
    case "intact": {
      const isCurrent = reading.format === codec.format;
      const file = isCurrent ? await attempt("open the journal for writing", open) : undefined;
      return { ...unset, ...reading, id, file, isWhole: isCurrent, recovery: described() };
    }
    case "torn": {
      const tail = bytes.subarray(reading.length);
      const aside = await attempt("set a torn write aside", () => copyAside(directory, tail, now()));
      // Cut off even where the disk has no room to keep it: it was never acknowledged, and the next write needs the room.
      const file = await attempt("cut a torn write off", () => cut(directory, reading.length));
      const isWhole = file !== undefined && reading.format === codec.format;
      return { ...unset, ...reading, id, file, isWhole, recovery: described(aside) };
    }
    case "corrupt": {
      const aside = await attempt("set a corrupt journal aside", () =>
        moveAside(directory, "corrupt", now()),
      );
      const obstacle = aside === undefined ? { kind: verdict, detail } : undefined;
      return { ...unset, obstacle, recovery: described(aside) };
    }
    case "too-new":
      return { ...unset, obstacle: { kind: verdict, detail }, recovery: described() };
  }

  function open(): Promise<StateFile> {
    return directory.open(journalName, "existing");
  }

  /** A start does not fail because a repair does: the first write makes a new journal instead. */
  async function attempt<T>(what: string, repair: () => Promise<T>): Promise<T | undefined> {
    try {
      return await repair();
    } catch (err) {
      log.warn({ err, directory: directory.path }, `cannot ${what}`);
      return undefined;
    }
  }

  function described(aside?: string): Recovery {
    const unrecognized = codec.unrecognized(reading.state).slice(0, maxUnrecognized);
    return {
      recovered: verdict,
      detail,
      ...(aside !== undefined && { setAside: join(directory.path, aside) }),
      ...(unrecognized.length > 0 && { unrecognized }),
    };
  }
}

interface Reading<State> {
  readonly verdict: "intact" | "torn" | "corrupt" | "too-new";
  readonly detail: string;
  readonly state: State;
  readonly seq: number;
  readonly format: number;
  readonly length: number;
  readonly snapshotLength: number;
}

/** The state that the journal's bytes stand for. Pure. */
export function readJournal<State, Change>(bytes: Buffer, codec: Codec<State, Change>): Reading<State> {
  const { records, end, verdict, detail } = scanRecords(bytes);
  const [first, ...groups] = records;
  // First of all: only the version that wrote the rest can tell whether it is damaged.
  if (isJsonObject(first) && isFormat(first.format) && first.format > codec.format) {
    return unreadable(
      "too-new",
      `the journal is of format ${first.format}, and this version reads up to ${codec.format}`,
    );
  }
  if (verdict === "corrupt") return unreadable("corrupt", detail);
  // The first line was renamed into place as a whole: where it is missing, no write was interrupted.
  if (!isSnapshot(first)) return unreadable("corrupt", "no snapshot of a known format (line 1, byte 0)");
  try {
    const changes: Change[] = [];
    for (const [index, group] of groups.entries()) {
      const seq = first.seq + index + 1;
      if (!isGroup(group) || group.seq !== seq)
        return unreadable("corrupt", `line ${index + 2} is not group ${seq}`);
      for (const change of codec.decodeChanges(group.changes)) changes.push(change);
    }
    return {
      verdict,
      detail,
      state: codec.reduce(codec.decodeState(first.snapshot, first.format), changes),
      seq: first.seq + groups.length,
      format: first.format,
      length: end,
      snapshotLength: bytes.indexOf("\n") + 1,
    };
  } catch (error) {
    if (error instanceof SchemaError) return unreadable("corrupt", error.message);
    throw error;
  }

  function unreadable(verdict: "corrupt" | "too-new", detail: string): Reading<State> {
    return { verdict, detail, state: codec.empty, seq: 0, format: 0, length: 0, snapshotLength: 0 };
  }
}

/** Without a journal the state is unset; one set aside at an earlier start is still the reason why. */
function withoutJournal(directory: StateDirectory, names: readonly string[]): Recovery {
  const aside = newestAside("corrupt", names);
  if (aside === undefined) return { recovered: "fresh", detail: "" };
  const detail = "the journal was set aside at an earlier start, and nothing was written since";
  return { recovered: "corrupt", setAside: join(directory.path, aside), detail };
}

async function cut(directory: StateDirectory, length: number): Promise<StateFile> {
  const file = await directory.open(journalName, "existing");
  try {
    await file.truncate(length);
    await file.sync();
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function isSnapshot(
  value: unknown,
): value is { readonly format: number; readonly seq: number; readonly snapshot: unknown } {
  return hasSeq(value) && "format" in value && isFormat(value.format) && "snapshot" in value;
}

function isGroup(value: unknown): value is { readonly seq: number; readonly changes: unknown } {
  return hasSeq(value) && "changes" in value;
}

function hasSeq(value: unknown): value is { readonly seq: number } {
  return isJsonObject(value) && Number.isSafeInteger(value.seq);
}

function isFormat(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}
