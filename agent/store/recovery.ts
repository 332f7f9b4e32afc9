/**
 * Reads a journal at start. There are four results:
 *
 * - `intact`
 * - `torn`: the last write was interrupted. Nothing acknowledged is lost.
 * - `corrupt`: nothing of the journal is used, the state is unset.
 * - `too-new`: a newer version wrote it and this one must not use it. The state is unset, the file stays.
 *
 * A journal that cannot be read never counts as an empty one.
 */
import { join } from "node:path";
import type { Log } from "../log.ts";
import { type Codec, SchemaError, type UnrecognizedPart } from "./codec.ts";
import type { StateDirectory, StateFile } from "./directory.ts";
import { isJsonObject } from "./json.ts";
import { scanRecords } from "./records.ts";
import { copyAside, journalName, moveAside, newestAside, temporaryName } from "./set-aside.ts";

/** The number of unknown paths that are reported. */
const maxUnrecognized = 20;

/** How the state was found at start. `corrupt` and `too-new` make the gateway degraded. */
export interface Recovery {
  readonly recovered: "fresh" | "intact" | "torn" | "corrupt" | "too-new";
  /** Path of the file that holds the damaged bytes. */
  readonly setAside?: string;
  /** Text for the log and the status. Empty if there is nothing to report. */
  readonly detail: string;
  /** Parts that a newer version stored and this one does not know: kept, without effect. The first 20 paths. */
  readonly unrecognized?: readonly UnrecognizedPart[];
}

/** Text that names the first few parts. */
export function describeUnrecognized(parts: readonly UnrecognizedPart[]): string {
  const named = parts.slice(0, 5).map(({ path, count }) => `${path} (${count})`);
  const more = parts.length > named.length ? " and more" : "";
  return `a newer version stored fields or objects that this version does not know; they are kept and have no effect: ${named.join(", ")}${more}`;
}

/** From where the journal continues. */
export interface Recovered<State> {
  readonly state: State;
  readonly seq: number;
  /** Id of the file that was read. `undefined` if no file of ours has the journal's name. */
  readonly id: string | undefined;
  /** That file, open and truncated to `length`. `undefined` if that failed or if the file is to be replaced. */
  readonly file: StateFile | undefined;
  /** The file holds exactly `length` good bytes of the current format. Once it opens, it can be continued. */
  readonly isWhole: boolean;
  readonly length: number;
  /** Length in bytes of the snapshot at the start of the file. */
  readonly snapshotLength: number;
  /**
   * Why the file with the journal's name is not ours. The next write moves a corrupt file aside; one that is too new
   * stays.
   */
  readonly obstacle: { readonly kind: "corrupt" | "too-new"; readonly detail: string } | undefined;
  readonly recovery: Recovery;
}

/** Reads the journal and repairs what it can. Works also if the disk refuses writes. */
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
  const { journalState, detail } = reading;
  switch (journalState) {
    case "intact": {
      const isCurrent = reading.format === codec.format;
      const file = isCurrent ? await attempt("open the journal for writing", open) : undefined;
      return { ...unset, ...reading, id, file, isWhole: isCurrent, recovery: described() };
    }
    case "torn": {
      const tail = bytes.subarray(reading.length);
      const aside = await attempt("set a torn write aside", () => copyAside(directory, tail, now()));
      // Truncate even if the disk has no room for the copy: the write was never acknowledged, and the next one needs
      // the room.
      const file = await attempt("cut a torn write off", () => cut(directory, reading.length));
      const isWhole = file !== undefined && reading.format === codec.format;
      return { ...unset, ...reading, id, file, isWhole, recovery: described(aside) };
    }
    case "corrupt": {
      const aside = await attempt("set a corrupt journal aside", () =>
        moveAside(directory, "corrupt", now()),
      );
      const obstacle = aside === undefined ? { kind: journalState, detail } : undefined;
      return { ...unset, obstacle, recovery: described(aside) };
    }
    case "too-new":
      return { ...unset, obstacle: { kind: journalState, detail }, recovery: described() };
  }

  function open(): Promise<StateFile> {
    return directory.open(journalName, "existing");
  }

  /** A failed repair does not stop the start: the first write creates a new journal instead. */
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
      recovered: journalState,
      detail,
      ...(aside !== undefined && { setAside: join(directory.path, aside) }),
      ...(unrecognized.length > 0 && { unrecognized }),
    };
  }
}

interface Reading<State> {
  readonly journalState: "intact" | "torn" | "corrupt" | "too-new";
  readonly detail: string;
  readonly state: State;
  readonly seq: number;
  readonly format: number;
  readonly length: number;
  readonly snapshotLength: number;
}

/** Decodes the journal's bytes. Pure. */
export function readJournal<State, Change>(bytes: Buffer, codec: Codec<State, Change>): Reading<State> {
  const { records, end, journalState, detail } = scanRecords(bytes);
  const [first, ...groups] = records;
  // Check the format first: only the version that wrote the journal can tell whether the rest is damaged.
  if (isJsonObject(first) && isFormat(first.format) && first.format > codec.format) {
    return unreadable(
      "too-new",
      `the journal has format ${first.format}; this version reads formats up to ${codec.format}`,
    );
  }
  if (journalState === "corrupt") return unreadable("corrupt", detail);
  // The file was renamed into place only when its first line was complete. So a missing snapshot is damage, not an
  // interrupted write.
  if (!isSnapshot(first)) return unreadable("corrupt", "no snapshot of a known format (line 1, byte 0)");
  try {
    const changes: Change[] = [];
    for (const [index, group] of groups.entries()) {
      const seq = first.seq + index + 1;
      if (!isGroup(group) || group.seq !== seq)
        return unreadable("corrupt", `line ${index + 2} does not have the expected sequence number ${seq}`);
      for (const change of codec.decodeChanges(group.changes)) changes.push(change);
    }
    return {
      journalState,
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

  function unreadable(journalState: "corrupt" | "too-new", detail: string): Reading<State> {
    return { journalState, detail, state: codec.empty, seq: 0, format: 0, length: 0, snapshotLength: 0 };
  }
}

/** Without a journal the state is unset. If an earlier start set a corrupt journal aside, that is still the reason. */
function withoutJournal(directory: StateDirectory, names: readonly string[]): Recovery {
  const aside = newestAside("corrupt", names);
  if (aside === undefined) return { recovered: "fresh", detail: "" };
  const detail = "an earlier start set a corrupt journal aside, and nothing has been written since";
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
