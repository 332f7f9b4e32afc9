/** Encodes a whole change of the table as the messages of one transaction. */
import { type Chunked, runSync } from "../chunked.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { type Definition, encodeDefinition } from "./definition.ts";
import { deleteTable } from "./definition-messages.ts";
import { encodeAddChunked, encodeDeleteChunked } from "./encode-elements.ts";
import { type ByMap, type Elements, mapNames } from "./maps.ts";

export interface TableTransaction {
  /**
   * Creates the table; `isReplaced` deletes an existing one first. `undefined`: the table stays and only elements
   * change.
   */
  readonly definition: { readonly make: Definition; readonly isReplaced: boolean } | undefined;
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
  definition,
  remove,
  add,
}: TableTransaction): Chunked<readonly NetlinkMessage[]> {
  const messages: NetlinkMessage[] = [
    ...(definition?.isReplaced ? [deleteTable()] : []),
    ...(definition === undefined ? [] : encodeDefinition(definition.make)),
  ];
  for (const map of mapNames) messages.push(...(yield* encodeDeleteChunked(map, remove[map])));
  for (const map of mapNames) messages.push(...(yield* encodeAddChunked(map, add[map])));
  return messages;
}
