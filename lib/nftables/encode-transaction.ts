/** Encodes a whole change of the table as the messages of one transaction. */
import { type Chunked, runSync } from "../chunked.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { encodeAddChunked, encodeDeleteChunked } from "./encode-elements.ts";
import { encodeFrame, type Frame } from "./frame.ts";
import { deleteTable } from "./frame-messages.ts";
import { type ByMap, type Elements, mapNames } from "./maps.ts";

export interface TableTransaction {
  /**
   * Creates the table; `isReplaced` deletes an existing one first. `undefined`: the table stays and only elements
   * change.
   */
  readonly frame: { readonly make: Frame; readonly isReplaced: boolean } | undefined;
  /**
   * Keys to delete, by map. An element with a new value is deleted and added: the kernel refuses a second value for a
   * key.
   */
  readonly remove: ByMap<readonly string[]>;
  readonly add: Elements;
}

/** Deletions come first: a new interval may overlap deleted ones. */
export function encodeTransaction(transaction: TableTransaction): readonly NetlinkMessage[] {
  return runSync(encodeTransactionChunked(transaction));
}

/** The same in parts. */
export function* encodeTransactionChunked({
  frame,
  remove,
  add,
}: TableTransaction): Chunked<readonly NetlinkMessage[]> {
  const messages: NetlinkMessage[] = [
    ...(frame?.isReplaced ? [deleteTable()] : []),
    ...(frame === undefined ? [] : encodeFrame(frame.make)),
  ];
  for (const map of mapNames) messages.push(...(yield* encodeDeleteChunked(map, remove[map])));
  for (const map of mapNames) messages.push(...(yield* encodeAddChunked(map, add[map])));
  return messages;
}
