/**
 * System calls that Node does not offer, through libc. Each module declares its functions with {@link libcFunction}.
 * Nothing is loaded before the first call.
 */
import { constants } from "node:os";
import { getSystemErrorMessage } from "node:util";
import koffi, { type LibraryHandle } from "koffi";

/** Arguments of a libc function: integers, and typed arrays for pointers. */
export type LibcArgument = number | bigint | Uint8Array | null;

/** Returns like a system call: the result of libc, or the negative errno if it was −1. */
export interface LibcFunction<Args extends readonly LibcArgument[]> {
  (...args: Args): number;
  /**
   * Runs the call in a separate thread, for calls that may take long. The caller must keep the buffers alive until it
   * ends.
   */
  async(...args: Args): Promise<number>;
}

/**
 * Declares a libc function by its C prototype. Pointers are `void *` and take typed arrays. What the kernel writes into
 * an array is there after the call.
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
        // koffi restores the worker's errno before the callback.
        if (error) fail(error);
        else done(negativeErrno(Number(result)));
      });
    });
  return Object.assign(call, { async });
}

/** `"EEXIST"` for 17. `"E133"` if the number has no name here. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

/** `"file already exists"` for 17. Used if the kernel gave no text. */
export function errnoText(errno: number): string {
  return getSystemErrorMessage(-errno) ?? errnoName(errno);
}

const F_DUPFD_CLOEXEC = 1030;
const fcntl = libcFunction<[fd: number, command: number, argument: number]>("int fcntl(int, int, int)");

/** Another descriptor of the same, which programs that the agent runs do not inherit. */
export function duplicate(fd: number): number {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/** Socket calls that several kinds of sockets need. */
export const close = libcFunction<[fd: number]>("int close(int)");
export const socket =
  libcFunction<[domain: number, type: number, protocol: number]>("int socket(int, int, int)");
export const getsockopt = libcFunction<
  [fd: number, level: number, option: number, value: Uint8Array, length: Uint8Array]
>("int getsockopt(int, int, int, void *, void *)");
export const sendto = libcFunction<
  [fd: number, bytes: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number]
>("long sendto(int, void *, size_t, int, void *, uint32_t)");

/**
 * Sets an option of type `int`.
 * @returns 0 or −errno
 */
export function setSocketOption(fd: number, level: number, option: number, value: number): number {
  const bytes = new Uint8Array(Int32Array.of(value).buffer);
  return setsockopt(fd, level, option, bytes, bytes.length);
}

const setsockopt = libcFunction<
  [fd: number, level: number, option: number, value: Uint8Array, length: number]
>("int setsockopt(int, int, int, void *, uint32_t)");

let library: LibraryHandle | undefined;

/** libc is part of the process's own symbols, whatever its file name. */
function libc(): LibraryHandle {
  library ??= koffi.load(null);
  return library;
}

function negativeErrno(result: number): number {
  return result === -1 ? -koffi.errno() : result;
}

/** Reversed, so that of two names for one number the first wins: EAGAIN, not EWOULDBLOCK. */
const names = new Map(
  Object.entries({ ERESTART: 85, ...constants.errno })
    .reverse()
    .map(([name, errno]) => [errno, name]),
);
