/**
 * System calls that Node has no name for, through libc. Each module declares the functions that it needs with
 * {@link libcFunction}; nothing is loaded before the first call.
 */
import { constants } from "node:os";
import { getSystemErrorMessage } from "node:util";
import koffi, { type LibraryHandle } from "koffi";

/** What a libc function takes here: integers, and typed arrays where it wants a pointer. */
export type LibcArgument = number | bigint | Uint8Array | null;

/** Like a system call itself: what libc returned, or the negative errno where it returned −1. */
export interface LibcFunction<Args extends readonly LibcArgument[]> {
  (...args: Args): number;
  /** The same on a thread of its own, for what may take long. The caller keeps the buffers alive until then. */
  async(...args: Args): Promise<number>;
}

/**
 * Declares a libc function by its C prototype. Pointers are `void *` and take typed arrays; what the kernel
 * writes into one is there after the call.
 */
export function libcFunction<Args extends readonly LibcArgument[]>(prototype: string): LibcFunction<Args> {
  let native: ReturnType<LibraryHandle["func"]> | undefined;
  const resolve = () => {
    native ??= libc().func(prototype);
    return native;
  };
  const call = (...args: Args): number => negativeErrno(Number(resolve()(...args)));
  const async = (...args: Args): Promise<number> =>
    new Promise((done, fail) => {
      resolve().async(...args, (error: unknown, result: number | bigint) => {
        // koffi restores the worker's errno before it calls back.
        if (error) fail(error);
        else done(negativeErrno(Number(result)));
      });
    });
  return Object.assign(call, { async });
}

/** `"EEXIST"` for 17; `"E133"` where the number has no name here. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

/** `"file already exists"` for 17: the words where the kernel gave none. */
export function errnoText(errno: number): string {
  return getSystemErrorMessage(-errno) ?? errnoName(errno);
}

/** Socket calls that more than one kind of socket needs. */
export const close = libcFunction<[fd: number]>("int close(int)");
export const socket =
  libcFunction<[domain: number, type: number, protocol: number]>("int socket(int, int, int)");
export const getsockopt = libcFunction<
  [fd: number, level: number, option: number, value: Uint8Array, length: Uint8Array]
>("int getsockopt(int, int, int, void *, void *)");
export const sendto = libcFunction<
  [fd: number, bytes: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number]
>("long sendto(int, void *, size_t, int, void *, uint32_t)");

/** Sets an option that is an `int`. @returns 0 or −errno */
export function setSocketOption(fd: number, level: number, option: number, value: number): number {
  const bytes = new Uint8Array(Int32Array.of(value).buffer);
  return setsockopt(fd, level, option, bytes, bytes.length);
}

const setsockopt = libcFunction<
  [fd: number, level: number, option: number, value: Uint8Array, length: number]
>("int setsockopt(int, int, int, void *, uint32_t)");

let library: LibraryHandle | undefined;

/** The process's own symbols hold libc, whatever its file is called. */
function libc(): LibraryHandle {
  library ??= koffi.load(null);
  return library;
}

function negativeErrno(result: number): number {
  return result === -1 ? -koffi.errno() : result;
}

/** Reversed, so that of two names for one number the first stays: EAGAIN, not EWOULDBLOCK. */
const names = new Map(
  Object.entries({ ERESTART: 85, ...constants.errno })
    .reverse()
    .map(([name, errno]) => [errno, name]),
);
