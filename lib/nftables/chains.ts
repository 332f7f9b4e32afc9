/** All tables and chains of nf_tables, of any owner: whether they are active, and where their rules jump. */

import type { Hook, HookName } from "../netfilter/chain.ts";
import {
  attributeEnd,
  attributeType,
  concatBytes,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
  textAttribute,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { protocolFamilyOf, type TableLabel, tableOf } from "./foreign.ts";
import {
  anyHeader,
  chainAttribute,
  expressionAttribute,
  headerBytes,
  hookAttribute,
  immediateAttribute,
  messageType,
  NFTA_DATA_VERDICT,
  ruleAttribute,
  tableAttribute,
  verdictAttribute,
} from "./wire.ts";

export interface NftTable {
  readonly label: TableLabel;
  /** Its chains are not called (flag `dormant`). */
  readonly isDormant: boolean;
  /** As text. A table that is made again gets a new handle, while its rules' handles restart. Absent: unknown. */
  readonly handle?: string;
}

export interface NftChain {
  readonly table: TableLabel;
  readonly name: string;
  /** `undefined`: only other chains jump to it. */
  readonly hook: Hook | undefined;
}

export interface NftRule {
  /** As text. Unique in its table. */
  readonly handle: string;
  /** The chain that it jumps to, whatever its conditions. */
  readonly target: string | undefined;
}

export const dumpTables: NetlinkMessage = { type: messageType.getTable, flags: 0, payload: anyHeader };
export const dumpChains: NetlinkMessage = { type: messageType.getChain, flags: 0, payload: anyHeader };

/** Requests the rules of a chain of any family, in order. */
export function dumpChainRules({ table, name }: Pick<NftChain, "table" | "name">): NetlinkMessage {
  const [family = "", tableName = ""] = table.split(" ");
  const payload = concatBytes(
    Uint8Array.of(protocolFamilyOf(family), 0, 0, 0),
    textAttribute(ruleAttribute.table, tableName),
    textAttribute(ruleAttribute.chain, name),
  );
  return { type: messageType.getRule, flags: 0, payload };
}

/** `undefined` for a message of another type or family. */
export function decodeTable(type: number, view: DataView, start: number, end: number): NftTable | undefined {
  const label = type === messageType.newTable ? tableOf(view, start, end) : undefined;
  if (label === undefined) return undefined;
  const flags = find(view, start + headerBytes, end, tableAttribute.flags);
  const handle = find(view, start + headerBytes, end, tableAttribute.handle);
  return {
    label,
    isDormant: flags !== undefined && (u32(view, flags, end) & NFT_TABLE_F_DORMANT) !== 0,
    ...(handle !== undefined && { handle: String(view.getBigUint64(requirePayload(view, handle, end, 8))) }),
  };
}

/** `undefined` for a message of another type or family. */
export function decodeChain(type: number, view: DataView, start: number, end: number): NftChain | undefined {
  const table = type === messageType.newChain ? tableOf(view, start, end) : undefined;
  if (table === undefined) return undefined;
  const from = start + headerBytes;
  const textOf = (attribute: number) => text(view, find(view, from, end, attribute), end);
  const at = find(view, from, end, chainAttribute.hook);
  const name = textOf(chainAttribute.name);
  if (at === undefined) return { table, name, hook: undefined };
  const policy = find(view, from, end, chainAttribute.policy);
  const isDrop = policy !== undefined && u32(view, policy, end) === NF_DROP;
  const place = decodeHook(table, view, payloadOf(at), attributeEnd(view, at, end));
  return {
    table,
    name,
    hook: { ...place, type: textOf(chainAttribute.type), policy: isDrop ? "drop" : "accept" },
  };
}

/** `undefined` for a message of another type. */
export function decodeRule(type: number, view: DataView, start: number, end: number): NftRule | undefined {
  if (type !== messageType.newRule) return undefined;
  const from = start + headerBytes;
  const handle = find(view, from, end, ruleAttribute.handle);
  const list = find(view, from, end, ruleAttribute.expressions);
  return {
    handle: handle === undefined ? "" : String(view.getBigUint64(requirePayload(view, handle, end, 8))),
    target: list === undefined ? undefined : targetOf(view, payloadOf(list), attributeEnd(view, list, end)),
  };
}

const NFT_TABLE_F_DORMANT = 1;
const NF_DROP = 0;

const hooks: readonly HookName[] = ["prerouting", "input", "forward", "output", "postrouting", "ingress"];
const hooksOf: Readonly<Record<string, readonly HookName[]>> = {
  netdev: ["ingress", "egress"],
  arp: ["input", "output", "forward"],
};

function decodeHook(
  table: TableLabel,
  view: DataView,
  start: number,
  end: number,
): Pick<Hook, "name" | "priority" | "devices"> {
  const number = find(view, start, end, hookAttribute.number);
  const priority = find(view, start, end, hookAttribute.priority);
  const names = hooksOf[table.split(" ")[0] ?? ""] ?? hooks;
  const devices: string[] = [];
  const device = find(view, start, end, hookAttribute.device);
  if (device !== undefined) devices.push(text(view, device, end));
  const list = find(view, start, end, hookAttribute.devices);
  const listEnd = list === undefined ? 0 : attributeEnd(view, list, end);
  for (let at = payloadOf(list ?? 0); at < listEnd; at = nextAttribute(view, at, listEnd)) {
    const name = text(view, at, listEnd);
    if (!devices.includes(name)) devices.push(name);
  }
  return {
    name: names[number === undefined ? 0 : u32(view, number, end)] ?? "input",
    priority: priority === undefined ? 0 : u32(view, priority, end) | 0,
    devices,
  };
}

/** The chain of the first expression that is a verdict with a chain. */
function targetOf(view: DataView, start: number, end: number): string | undefined {
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const item = [payloadOf(at), attributeEnd(view, at, end)] as const;
    const data = find(view, ...item, expressionAttribute.data);
    const name = find(view, ...item, expressionAttribute.name);
    if (data === undefined || text(view, name, item[1]) !== "immediate") continue;
    const path = [immediateAttribute.data, NFTA_DATA_VERDICT, verdictAttribute.chain];
    let found: number | undefined = data;
    for (const attribute of path) {
      if (found === undefined) break;
      found = find(view, payloadOf(found), attributeEnd(view, found, end), attribute);
    }
    if (found !== undefined) return text(view, found, end);
  }
  return undefined;
}

function find(view: DataView, start: number, end: number, type: number): number | undefined {
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === type) return at;
  return undefined;
}

function u32(view: DataView, at: number, end: number): number {
  return view.getUint32(requirePayload(view, at, end, 4));
}

function text(view: DataView, at: number | undefined, end: number): string {
  return at === undefined ? "" : readText(view, payloadOf(at), attributeEnd(view, at, end));
}
