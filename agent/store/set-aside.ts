/** Keeps damaged or foreign bytes beside the journal, in files whose names give the reason and the time. */
import type { StateDirectory, StateFile } from "./directory.ts";

export const journalName = "state.journal";
/** A new journal is written here and then renamed into place. */
export const temporaryName = "state.journal.tmp";

/** Files kept per reason. The limit keeps a crash loop from filling the disk. */
const keptOfEachKind = 8;

/** `replaced`: another program put a file there while the agent was running. */
export type AsideKind = "torn" | "corrupt" | "replaced";

/**
 * Copies the bytes of a torn write to a file of their own, durably.
 * @returns the name of that file
 */
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

/**
 * Moves the journal aside, durably. Succeeds also if it is already gone.
 * @returns its new name
 */
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

/** The newest file set aside for a reason, by the time in its name. */
export function newestAside(kind: AsideKind, names: readonly string[]): string | undefined {
  return asides(kind, names).at(-1);
}

/** Writes all of `bytes`, in as many calls as it takes. */
export async function appendAll(file: StateFile, bytes: Buffer): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const written = await file.append(bytes.subarray(done));
    if (written === 0) throw new Error("the file accepts no more bytes");
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

/** Never removes `newest`, whatever its name says: the clock may have been set back. */
async function prune(directory: StateDirectory, kind: AsideKind, newest: string): Promise<void> {
  const others = asides(kind, await directory.list()).filter((name) => name !== newest);
  for (const name of others.slice(0, Math.max(0, others.length - (keptOfEachKind - 1)))) {
    await directory.remove(name);
  }
}
