/**
 * The audit log: who wrote what. A record is written after the answer, and nobody waits for it: a disk that is full or
 * hangs loses records, which are counted, and never a write.
 */
import type { FileHandle } from "node:fs/promises";
import type { Log } from "../log.ts";
import type { OpenAppendFile } from "../store/append-file.ts";
import { idOf, openRegular } from "../store/file-id.ts";
import { AuditFile } from "./audit-file.ts";
import { readBackwards } from "./read-backwards.ts";

/** One line: JSON, with `time` in RFC 3339. */
export interface AuditRecord {
  readonly time: string;
  readonly [field: string]: unknown;
}

export interface AuditLogOptions {
  readonly path: string;
  /** Of the two files together. */
  readonly maxBytes: number;
  readonly now: () => number;
  readonly onWritten: (records: number) => void;
  /** `disk`: it could not be written; `queue`: too many waited. */
  readonly onLost: (records: number, reason: "disk" | "queue") => void;
  readonly log: Pick<Log, "error" | "info">;
  readonly openFile?: OpenAppendFile;
}

/** Characters that wait for the disk. */
const maxQueued = 1024 * 1024;
/** Of a record of ours: an object in it has values. */
const deepest = 3;
/** Records that are too old and are passed over: after the clock was set back, newer ones come before them. */
const maxOlder = 10_000;
/** How long a stop waits for the disk. */
const stopMs = 2_000;

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #file: AuditFile;
  #queue: string[] = [];
  #queued = 0;
  /** Records that are missing since the last one in the file. */
  #lost = 0;
  #failure: string | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#file = new AuditFile(options.path, options.maxBytes, options.openFile);
  }

  /** Why the last record could not be written. `undefined` if it was. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Never waits and never throws. */
  append(record: AuditRecord): void {
    const line = `${JSON.stringify(record)}\n`;
    if (this.#queued + line.length > maxQueued) {
      this.#lose(1, "queue");
      return;
    }
    this.#queue.push(line);
    this.#queued += line.length;
    this.#writing ??= this.#write();
  }

  /**
   * The last records, the oldest first.
   * @param sinceMs records before this time are left out
   */
  async read(limit: number, sinceMs: number): Promise<readonly AuditRecord[]> {
    await this.#settled();
    const found: AuditRecord[] = [];
    let older = 0;
    const handles = await this.#openAll();
    try {
      for (const handle of handles) {
        for await (const lines of readBackwards(handle, { maxBytes: this.#options.maxBytes })) {
          for (const line of lines) {
            const record = parse(line);
            if (record === undefined) continue;
            if (found.length === limit || older > maxOlder) return found.reverse();
            if (Date.parse(record.time) < sinceMs) older += 1;
            else found.push(record);
          }
        }
      }
      return found.reverse();
    } finally {
      for (const handle of handles) await handle.close();
    }
  }

  async stop(): Promise<void> {
    await this.#settled();
    await this.#file.close();
  }

  /** What waits is written, or the disk hangs. */
  async #settled(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, stopMs);
    });
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  async #write(): Promise<void> {
    // Records of the same turn are written together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const lines = this.#queue;
      this.#queue = [];
      this.#queued = 0;
      const lost = this.#lost;
      const gap = lost === 0 ? "" : `${JSON.stringify({ time: this.#time(), lost })}\n`;
      try {
        await this.#file.append(gap + lines.join(""));
      } catch (error) {
        this.#fail(error);
        this.#lose(lines.length, "disk");
        continue;
      }
      // More may have been lost meanwhile.
      this.#lost -= lost;
      this.#options.onWritten(lines.length);
      if (this.#failure !== undefined) this.#options.log.info({}, "the audit log is written again");
      this.#failure = undefined;
    }
    this.#writing = undefined;
  }

  #time(): string {
    return new Date(this.#options.now()).toISOString();
  }

  #lose(records: number, reason: "disk" | "queue"): void {
    this.#lost += records;
    this.#options.onLost(records, reason);
  }

  #fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (this.#failure === undefined) this.#options.log.error({ err: error }, "cannot write the audit log");
    this.#failure = message;
  }

  /** Both files as they are now. Between two calls the current one may become the one before. */
  async #openAll(): Promise<readonly FileHandle[]> {
    const [current, before] = this.#file.paths;
    const handles: FileHandle[] = [];
    for (const path of [current, before]) {
      const handle = await openRegular(path);
      if (handle !== undefined) handles.push(handle);
    }
    const [one, other] = await Promise.all(handles.map((handle) => handle.stat({ bigint: true })));
    if (one === undefined || other === undefined || idOf(one) !== idOf(other)) return handles;
    await handles.pop()?.close();
    return handles;
  }
}

/** `undefined` for a line that was cut short, or that someone else wrote. */
function parse(line: string): AuditRecord | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { time } = Object(value);
  return typeof time === "string" && !Number.isNaN(Date.parse(time)) && !isDeeper(value, deepest);
}

/** Whether values are nested deeper: what has no bound could not be sent. */
function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((member) => isDeeper(member, depth - 1));
}
