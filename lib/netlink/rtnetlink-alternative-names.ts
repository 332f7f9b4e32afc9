/** Links with their alternative names: IFLA_PROP_LIST of include/uapi/linux/if_link.h. */
import {
  attributeEnd,
  attributeType,
  concatBytes,
  nestedAttribute,
  nextAttribute,
  payloadOf,
  readText,
  textAttribute,
} from "./attributes.ts";
import { messageFlag, type NetlinkMessage } from "./message.ts";
import { IFLA_IFNAME, linkHeader, linkHeaderOf } from "./rtnetlink-links.ts";

/** RTM_NEWLINKPROP. */
const newLinkProperty = 108;
const IFLA_PROP_LIST = 52;
const IFLA_ALT_IFNAME = 53;

export interface NamedLink {
  readonly index: number;
  readonly name: string;
  readonly alternativeNames: readonly string[];
}

/** Decodes one RTM_NEWLINK. */
export function decodeNamedLink(view: DataView, start: number, end: number): NamedLink {
  let name = "";
  const alternativeNames: string[] = [];
  for (let at = start + linkHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const stop = attributeEnd(view, at, end);
    if (type === IFLA_IFNAME) name = readText(view, payloadOf(at), stop);
    if (type !== IFLA_PROP_LIST) continue;
    for (let inner = payloadOf(at); inner < stop; inner = nextAttribute(view, inner, stop))
      if (attributeType(view, inner) === IFLA_ALT_IFNAME)
        alternativeNames.push(readText(view, payloadOf(inner), attributeEnd(view, inner, stop)));
  }
  return { index: view.getInt32(start + 4, true), name, alternativeNames };
}

/** Gives a link another name. EEXIST if a link has it. */
export function encodeAddAlternativeName(index: number, name: string): NetlinkMessage {
  return {
    type: newLinkProperty,
    flags: messageFlag.create | messageFlag.exclusive | messageFlag.append,
    payload: concatBytes(
      linkHeaderOf(index),
      nestedAttribute(IFLA_PROP_LIST, textAttribute(IFLA_ALT_IFNAME, name)),
    ),
  };
}
