/** What links have received and transmitted: IFLA_STATS64, `struct rtnl_link_stats64` of linux/if_link.h. */
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "./attributes.ts";
import type { NetlinkMessage } from "./message.ts";
import { IFLA_IFNAME, linkHeader } from "./rtnetlink-links.ts";

const RTM_GETLINK = 18;
const IFLA_STATS64 = 23;

export interface LinkCounts {
  readonly receivePackets: number;
  readonly receiveBytes: number;
  readonly transmitPackets: number;
  readonly transmitBytes: number;
}

/** Requests all links with their counters. The sender adds NLM_F_DUMP. */
export function dumpLinkCounters(): NetlinkMessage {
  return { type: RTM_GETLINK, flags: 0, payload: new Uint8Array(linkHeader) };
}

/** Decodes one RTM_NEWLINK. `undefined` for a link without counters, or whose name the agent cannot use. */
export function decodeLinkCounters(
  view: DataView,
  start: number,
  end: number,
): { readonly name: InterfaceName; readonly counts: LinkCounts } | undefined {
  let name: InterfaceName | undefined;
  let counts: LinkCounts | undefined;
  for (let at = start + linkHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (type === IFLA_IFNAME)
      name = parseInterfaceName(readText(view, payloadOf(at), attributeEnd(view, at, end)));
    else if (type === IFLA_STATS64) counts = readCounts(view, requirePayload(view, at, end, countersBytes));
  }
  return name === undefined || counts === undefined ? undefined : { name, counts };
}

/** Up to the fourth counter. */
const countersBytes = 32;

function readCounts(view: DataView, at: number): LinkCounts {
  const counter = (index: number) => Number(view.getBigUint64(at + 8 * index, true));
  return {
    receivePackets: counter(0),
    transmitPackets: counter(1),
    receiveBytes: counter(2),
    transmitBytes: counter(3),
  };
}
