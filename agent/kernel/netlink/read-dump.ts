/** Reads a whole dump as values. */
import type { NetlinkConnection } from "./connection.ts";

/**
 * @param answer the type of the messages to decode; others are left out
 * @returns what each message is decoded to, in the kernel's order
 */
export async function readDump<T>(
  netlink: NetlinkConnection,
  request: Parameters<NetlinkConnection["dump"]>[0],
  answer: number,
  decode: (view: DataView, start: number, end: number) => T,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const found: T[] = [];
  await netlink.dump(
    request,
    (type, view, start, end) => {
      if (type === answer) found.push(decode(view, start, end));
    },
    signal,
    () => found.splice(0),
  );
  return found;
}
