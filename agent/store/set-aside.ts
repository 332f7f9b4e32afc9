/** Bytes that are not the state's, or no longer, are kept beside the journal, under names that tell why and when. */
import type { StateDirectory, StateFile } from "./directory.ts";

export const journalName = "state.journal";
/** Where a new journal is built before it takes the old one's name. */
export const temporaryName = "state.journal.tmp";

/** Set-aside files kept of each kind; a crash loop must not fill the disk. */
const keptOfEachKind = 8;

/** `replaced`: somebody else put a file there while an agent was running. */
export type AsideKind = "torn" | "corrupt" | "replaced";

/** Copies the bytes of a torn write to a file of their own, durable on return. @returns its name. */
export async function copyAside(directory: StateDirectory, bytes: Buffer, nowMs: number): Promise<string> {
  const name = freeName("torn", await directory.list(), nowMs);
  try {
    const file = await directory.open(name, "create");
    try {
      await appendAll(file, bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await directory.remove(name);
    throw error;
  }
  await directory.sync();
  await prune(directory, "torn", name);
  return name;
}

/** Moves the journal out of the way, durably; one that is gone already is a success. @returns its new name. */
export async function moveAside(
  directory: StateDirectory,
  kind: AsideKind,
  nowMs: number,
): Promise<string | undefined> {
  const names = await directory.list();
  if (!names.includes(journalName)) {
    await directory.sync();
    return newestAside(kind, names);
  }
  const name = freeName(kind, names, nowMs);
  await directory.rename(journalName, name);
  await directory.sync();
  await prune(directory, kind, name);
  return name;
}

/** The last one set aside of a kind, by the time in its name. */
export function newestAside(kind: AsideKind, names: readonly string[]): string | undefined {
  return asides(kind, names).at(-1);
}

/** Writes all of `bytes`, however little each write takes. */
export async function appendAll(file: StateFile, bytes: Buffer): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const written = await file.append(bytes.subarray(done));
    if (written === 0) throw new Error("the file takes no more bytes");
    done += written;
  }
}

function asides(kind: AsideKind, names: readonly string[]): readonly string[] {
  return names.filter((name) => name.startsWith(`${journalName}.${kind}-`)).sort();
}

function freeName(kind: AsideKind, names: readonly string[], nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:.]/g, "");
  const name = `${journalName}.${kind}-${time}`;
  let free = name;
  for (let count = 1; names.includes(free); count++) free = `${name}-${count}`;
  return free;
}

/** `newest` stays whatever its name says: a clock may have been set back. */
async function prune(directory: StateDirectory, kind: AsideKind, newest: string): Promise<void> {
  const others = asides(kind, await directory.list()).filter((name) => name !== newest);
  for (const name of others.slice(0, Math.max(0, others.length - (keptOfEachKind - 1)))) {
    await directory.remove(name);
  }
}
