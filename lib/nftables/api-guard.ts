/**
 * The table that keeps the API's ports closed. In nft's words, for an API on 127.0.0.1:9477 and 10.0.1.254:9477:
 *
 *     table inet natgw_api
 *       chain input { type filter hook input priority 0;
 *         iifname "lo" return
 *         meta l4proto tcp th dport 9477 jump guarded
 *       }
 *       chain guarded {
 *         ct status & dnat != 0 counter name api_guard_ingress drop
 *         iifname "eth0" meta nfproto ipv4 ip daddr 10.0.1.254 th dport 9477 return
 *         counter name api_guard_ingress drop
 *       }
 *
 * Every EIP, and every address of every interface, is an address of this host: the kernel delivers packets to it whatever
 * interface they came in by. What a DNAT sends to a pod is forwarded and never gets here. What one sends to the API comes by a
 * way that nobody configured. The table is of family inet, because a listener may have an IPv6 address.
 */

import { type AddressBytes, addressBytesOf } from "../model/address-bytes.ts";
import type { ApiGuard, OpenEndpoint } from "../model/api-guard.ts";
import type { InterfaceName } from "../model/names.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { type DefinitionLines, DefinitionReader } from "./definition-lines.ts";
import {
  type Counted,
  deleteTable,
  newChain,
  newCounter,
  newPlainChain,
  newRule,
  newTable,
} from "./definition-messages.ts";
import {
  compare,
  count,
  ctStatus,
  drop,
  type Expression,
  endChain,
  ifName,
  jump,
  loadMeta,
  loadNetworkHeader,
  loadPacket,
  loadStatus,
  register,
  testBits,
} from "./expressions.ts";
import { inetNumber, inFamily } from "./wire.ts";

export const apiTable = "natgw_api";
export const apiCounter = "api_guard_ingress";

const [r1] = register;
const protocolTcp = 6;
const loopback = "lo" as InterfaceName;
const dropped = [count(apiCounter), drop];

/** One transaction: replaces the table if it exists. */
export function encodeApiTable(
  guard: ApiGuard,
  isReplaced: boolean,
  counted: Counted | undefined,
): readonly NetlinkMessage[] {
  const messages = [...(isReplaced ? [deleteTable(apiTable)] : []), ...makeTable(guard, counted)];
  return messages.map((message) => inFamily(message, inetNumber));
}

/** The table as lines, as a dump of it gives them. */
export function apiTableLines(guard: ApiGuard): DefinitionLines {
  const reader = new DefinitionReader(apiTable, inetNumber);
  for (const { type, payload } of encodeApiTable(guard, false, undefined))
    reader.read(
      type,
      new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
      0,
      payload.length,
    );
  return reader.lines;
}

function makeTable({ ports, open }: ApiGuard, counted: Counted | undefined): readonly NetlinkMessage[] {
  const rule = (chain: string, ...expressions: readonly Expression[]) =>
    newRule(chain, expressions, apiTable);
  return [
    newTable(apiTable),
    newCounter(apiCounter, apiTable, counted),
    newChain({ name: "input", type: "filter", hook: "input", priority: 0 }, apiTable),
    newPlainChain("guarded", apiTable),
    rule("input", ...ifName("iifname", loopback), endChain),
    ...ports.map((port) => rule("input", ...isTcp, ...isTo(port), jump("guarded"))),
    rule("guarded", loadStatus(r1), ...testBits(ctStatus.destinationNat, "any"), ...dropped),
    ...open.map((endpoint) => rule("guarded", ...isEndpoint(endpoint), endChain)),
    rule("guarded", ...dropped),
  ];
}

const isTcp = [loadMeta("l4proto", r1), compare(r1, "equal", Uint8Array.of(protocolTcp))];

function isTo(port: number): readonly Expression[] {
  return [loadPacket("destination port", r1), compare(r1, "equal", Uint8Array.of(port >> 8, port & 0xff))];
}

function isEndpoint({ interface: name, address, port }: OpenEndpoint): readonly Expression[] {
  const { bytes, number, destinationAt }: AddressBytes = addressBytesOf(address);
  return [
    ...ifName("iifname", name),
    loadMeta("nfproto", r1),
    compare(r1, "equal", Uint8Array.of(number)),
    loadNetworkHeader(destinationAt, bytes.length, r1),
    compare(r1, "equal", bytes),
    ...isTo(port),
  ];
}
