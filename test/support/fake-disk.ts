/**
 * A disk in memory that fails and crashes on command. It separates what the page cache shows from what a power cut
 * leaves, and is as strict as POSIX allows: after a failed sync the pages count as clean and are lost.
 */
import { randomUUID } from "node:crypto";
import type { StateDirectory, StateFile } from "../../agent/store/directory.ts";

export type Operation =
  | "list"
  | "read"
  | "open"
  | "rename"
  | "remove"
  | "sync"
  | "look"
  | "hold"
  | "write"
  | "truncate"
  | "close";

/**
 * The fault of one call: `short` writes half and reports it, `half` writes half and fails, `crash` ends the process.
 */
export type Fault = "fail" | "short" | "half" | "crash";

/** Decides the fault of each call by its number and kind. */
export type Fate = (call: number, operation: Operation) => Fault | undefined;

/** How much unsynced data a power cut leaves: nothing, all, the first half, or only the second half (a hole). */
export type Remains = "nothing" | "all" | "first-half" | "second-half";

interface Inode {
  readonly id: string;
  /** As the page cache shows it. */
  cached: Buffer;
  durable: Buffer;
  /** Ranges written since the last sync, successful or not. */
  dirty: { readonly from: number; readonly to: number }[];
  isLengthDirty: boolean;
}

export class Crash extends Error {}

export class FakeDisk {
  names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  /** The states of the directory since its last sync. A power cut may leave any of them. */
  #pendingNames: Map<string, Inode>[] = [];
  #isCrashed = false;
  calls: Operation[] = [];
  fate: Fate = () => undefined;

  directory(): StateDirectory {
    return {
      path: "/fake",
      list: () => this.#call("list", () => [...this.names.keys()]),
      read: (name) =>
        this.#call("read", () => {
          const inode = this.names.get(name);
          if (inode) flush(inode);
          return inode && { bytes: Buffer.from(inode.cached), id: inode.id };
        }),
      open: (name, how) => this.#call("open", () => this.#open(name, how)),
      rename: (from, to) =>
        this.#call("rename", () => {
          const inode = this.names.get(from);
          if (!inode) throw errno("ENOENT");
          this.#rename((names) => names.delete(from) && names.set(to, inode));
        }),
      remove: (name) => this.#call("remove", () => this.#rename((names) => names.delete(name))),
      sync: () =>
        this.#call("sync", () => {
          this.#durableNames = new Map(this.names);
          this.#pendingNames = [];
        }),
      look: (name) =>
        this.#call("look", () => {
          const inode = this.names.get(name);
          return { isHeld: true, file: inode && { id: inode.id, length: inode.cached.length } };
        }),
      hold: () => this.#call("hold", () => undefined),
      close: () => this.#call("close", () => undefined),
    };
  }

  /** Adds a durable file. */
  put(name: string, content: Buffer = Buffer.alloc(0)): this {
    const inode = newInode(content);
    this.names.set(name, inode);
    this.#durableNames.set(name, inode);
    return this;
  }

  content(name: string): Buffer | undefined {
    return this.names.get(name)?.cached;
  }

  /** The disks that a power cut now could leave. */
  *afterPowerCut(): Generator<FakeDisk> {
    for (const names of [this.#durableNames, ...this.#pendingNames]) {
      for (const remains of ["nothing", "all", "first-half", "second-half"] as const) {
        const disk = new FakeDisk();
        for (const [name, inode] of names) disk.put(name, surviving(inode, remains));
        yield disk;
      }
    }
  }

  #open(name: string, how: "create" | "existing"): StateFile {
    let inode = this.names.get(name);
    if (how === "create") {
      if (inode) {
        inode.cached = Buffer.alloc(0);
        inode.isLengthDirty = true;
      } else {
        const made = newInode(Buffer.alloc(0));
        inode = made;
        this.#rename((names) => names.set(name, made));
      }
    }
    if (!inode) throw errno("ENOENT");
    const file = inode;
    return {
      id: file.id,
      append: (bytes) =>
        this.#call("write", (fault) => {
          const written = fault === "short" || fault === "half" ? bytes.length >> 1 : bytes.length;
          store(file, bytes.subarray(0, written));
          if (fault === "half") throw errno("ENOSPC");
          return written;
        }),
      truncate: (length) =>
        this.#call("truncate", () => {
          const content = Buffer.alloc(length);
          file.cached.copy(content);
          file.cached = content;
          file.isLengthDirty = true;
        }),
      sync: () =>
        this.#call(
          "sync",
          () => flush(file),
          () => {
            file.dirty = [];
          },
        ),
      close: () => this.#call("close", () => undefined),
    };
  }

  #rename(change: (names: Map<string, Inode>) => unknown): void {
    this.names = new Map(this.names);
    change(this.names);
    this.#pendingNames.push(this.names);
  }

  async #call<T>(
    operation: Operation,
    effect: (fault: Fault | undefined) => T,
    onFailure: () => void = () => undefined,
  ): Promise<T> {
    await Promise.resolve();
    if (this.#isCrashed) throw new Crash();
    const fault = this.fate(this.calls.length, operation);
    this.calls.push(operation);
    if (fault === "crash") {
      this.#isCrashed = true;
      throw new Crash();
    }
    if (fault === "fail") {
      onFailure();
      throw errno("EIO");
    }
    return effect(fault);
  }
}

function newInode(content: Buffer): Inode {
  return { id: randomUUID(), cached: content, durable: content, dirty: [], isLengthDirty: false };
}

function store(inode: Inode, bytes: Buffer): void {
  const position = inode.cached.length;
  inode.cached = Buffer.concat([inode.cached, bytes]);
  inode.dirty.push({ from: position, to: position + bytes.length });
  inode.isLengthDirty = true;
}

function flush(inode: Inode): void {
  inode.durable = surviving(inode, "all");
  inode.dirty = [];
  inode.isLengthDirty = false;
}

function surviving(inode: Inode, remains: Remains): Buffer {
  if (remains === "nothing") return Buffer.from(inode.durable);
  const content = Buffer.alloc(inode.isLengthDirty ? inode.cached.length : inode.durable.length);
  inode.durable.copy(content);
  for (const { from, to } of inode.dirty) {
    const middle = (from + to) >> 1;
    const start = remains === "second-half" ? middle : from;
    const stop = remains === "first-half" ? middle : to;
    if (start < inode.cached.length)
      inode.cached.copy(content, start, start, Math.min(stop, inode.cached.length));
  }
  return content;
}

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
