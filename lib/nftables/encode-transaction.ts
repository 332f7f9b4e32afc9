/** A whole change of the table as the messages of one transaction. */
import type { NetlinkMessage } from "../netlink/message.ts";
import { encodeAdd, encodeDelete } from "./encode-elements.ts";
import { encodeFrame, type Frame } from "./frame.ts";
import { deleteTable } from "./frame-messages.ts";
import { type ByMap, type Elements, mapNames } from "./maps.ts";

export interface TableTransaction {
  /** Makes the table anew, after taking away what is there of it; `undefined`: it stays and only elements change. */
  readonly frame: { readonly make: Frame; readonly isReplaced: boolean } | undefined;
  /** Keys to take out, by map. One that gets another value is taken out and put in: the kernel refuses a second value. */
  readonly remove: ByMap<readonly string[]>;
  readonly add: Elements;
}

/** What goes comes first: an interval may take the place of those that it overlaps. */
export function encodeTransaction({ frame, remove, add }: TableTransaction): readonly NetlinkMessage[] {
  return [
    ...(frame?.isReplaced ? [deleteTable()] : []),
    ...(frame === undefined ? [] : encodeFrame(frame.make)),
    ...mapNames.flatMap((map) => encodeDelete(map, remove[map])),
    ...mapNames.flatMap((map) => encodeAdd(map, add[map])),
  ];
}
