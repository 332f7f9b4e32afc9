/** Encodes a whole change of the table as the messages of one transaction. */
import type { NetlinkMessage } from "../netlink/message.ts";
import { encodeAdd, encodeDelete } from "./encode-elements.ts";
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
export function encodeTransaction({ frame, remove, add }: TableTransaction): readonly NetlinkMessage[] {
  return [
    ...(frame?.isReplaced ? [deleteTable()] : []),
    ...(frame === undefined ? [] : encodeFrame(frame.make)),
    ...mapNames.flatMap((map) => encodeDelete(map, remove[map])),
    ...mapNames.flatMap((map) => encodeAdd(map, add[map])),
  ];
}
