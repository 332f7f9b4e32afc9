/**
 * Reading a journal back. Three ends: whole; torn, which is what an interrupted write leaves and costs nothing
 * that was acknowledged; and corrupt, where nothing is believed and the state is unset. Never silently empty.
 */
import { join } from "node:path";
import type { Log } from "../log.ts";
import { type Codec, SchemaError } from "./codec.ts";
import type { StateDirectory, StateFile } from "./directory.ts";
import { scanRecords } from "./records.ts";
import { copyAside, journalName, moveAside, newestAside, temporaryName } from "./set-aside.ts";

export const journalFormat = 1;

/** How the state was found at the start; `corrupt` makes the gateway degraded. */
export interface Recovery {
  readonly recovered: "fresh" | "intact" | "torn" | "corrupt";
  /** Path of the damaged bytes. */
  readonly setAside?: string;
  /** In words, for the log and the status; empty where there is nothing to say. */
  readonly detail: string;
}

/** What the journal writes on from. */
export interface Recovered<State> {
  readonly state: State;
  readonly seq: number;
  /** The journal, cut to `length`; `undefined` where it took no repair or there is none. */
  readonly file: StateFile | undefined;
  /** The journal holds `length` good bytes and no more: it can still be written on once it opens. */
  readonly isWhole: boolean;
  readonly length: number;
  /** Bytes of the snapshot that the file begins with. */
  readonly snapshotLength: number;
  /** A corrupt journal still has its name: it is moved aside before another takes it. */
  readonly isInTheWay: boolean;
  readonly recovery: Recovery;
}

/** Reads the journal and repairs what can be repaired. Where the disk takes no writes it is read all the same. */
export async function recover<State, Change>(
  directory: StateDirectory,
  codec: Codec<State, Change>,
  now: () => number,
  log: Pick<Log, "warn">,
): Promise<Recovered<State>> {
  const unset = {
    state: codec.empty,
    seq: 0,
    file: undefined,
    isWhole: false,
    length: 0,
    snapshotLength: 0,
  };
  const names = await directory.list();
  if (names.includes(temporaryName)) {
    await attempt("remove an unfinished journal", () => directory.remove(temporaryName));
  }
  const bytes = await directory.read(journalName);
  await directory.sync();
  if (bytes === undefined) {
    return { ...unset, isInTheWay: false, recovery: withoutJournal(directory, names) };
  }

  const reading = readJournal(bytes, codec);
  switch (reading.verdict) {
    case "intact": {
      const file = await attempt("open the journal for writing", () =>
        directory.open(journalName, "existing"),
      );
      const recovery: Recovery = { recovered: "intact", detail: "" };
      return { ...reading, file, isWhole: true, isInTheWay: false, recovery };
    }
    case "torn": {
      const tail = bytes.subarray(reading.length);
      const aside = await attempt("set a torn write aside", () => copyAside(directory, tail, now()));
      // Where a full disk has no room for them: bytes that no one was promised are worth less than the next write.
      const file = await attempt("cut a torn write off", () => cut(directory, reading.length));
      const recovery = found("torn", reading.detail, aside);
      return { ...reading, file, isWhole: file !== undefined, isInTheWay: false, recovery };
    }
    case "corrupt": {
      const aside = await attempt("set a corrupt journal aside", () => moveAside(directory, now()));
      return {
        ...unset,
        isInTheWay: aside === undefined,
        recovery: found("corrupt", reading.detail, aside),
      };
    }
  }

  /** A start must not fail for want of a repair: the first write makes a new journal instead. */
  async function attempt<T>(what: string, repair: () => Promise<T>): Promise<T | undefined> {
    try {
      return await repair();
    } catch (err) {
      log.warn({ err, directory: directory.path }, `could not ${what}`);
      return undefined;
    }
  }

  function found(recovered: "torn" | "corrupt", detail: string, aside: string | undefined): Recovery {
    return { recovered, detail, ...(aside !== undefined && { setAside: join(directory.path, aside) }) };
  }
}

interface Reading<State> {
  readonly verdict: "intact" | "torn" | "corrupt";
  readonly detail: string;
  readonly state: State;
  readonly seq: number;
  readonly length: number;
  readonly snapshotLength: number;
}

/** The state that the journal's bytes stand for. Pure. */
export function readJournal<State, Change>(bytes: Buffer, codec: Codec<State, Change>): Reading<State> {
  const { records, end, verdict, detail } = scanRecords(bytes);
  if (verdict === "corrupt") return corrupt(detail);
  const [first, ...groups] = records;
  // The first line was renamed into place whole: to miss it is no torn write.
  if (!isSnapshot(first)) return corrupt(`no snapshot of format ${journalFormat} (line 1, byte 0)`);
  try {
    const changes: Change[] = [];
    for (const [index, group] of groups.entries()) {
      const seq = first.seq + index + 1;
      if (!isGroup(group) || group.seq !== seq) return corrupt(`line ${index + 2} is not group ${seq}`);
      for (const change of codec.decodeChanges(group.changes)) changes.push(change);
    }
    return {
      verdict,
      detail,
      // At once: reduce copies the maps that it touches, once a call.
      state: codec.reduce(codec.decodeState(first.snapshot), changes),
      seq: first.seq + groups.length,
      length: end,
      snapshotLength: bytes.indexOf("\n") + 1,
    };
  } catch (error) {
    if (error instanceof SchemaError) return corrupt(error.message);
    throw error;
  }

  function corrupt(why: string): Reading<State> {
    return { verdict: "corrupt", detail: why, state: codec.empty, seq: 0, length: 0, snapshotLength: 0 };
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

function isSnapshot(value: unknown): value is { readonly seq: number; readonly snapshot: unknown } {
  return hasSeq(value) && "format" in value && value.format === journalFormat && "snapshot" in value;
}

function isGroup(value: unknown): value is { readonly seq: number; readonly changes: unknown } {
  return hasSeq(value) && "changes" in value;
}

function hasSeq(value: unknown): value is { readonly seq: number } {
  return typeof value === "object" && value !== null && "seq" in value && Number.isSafeInteger(value.seq);
}
