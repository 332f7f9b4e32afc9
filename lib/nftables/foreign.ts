/** Tables of other programs: which exist, and what nft lists of them. */
import { familyOf } from "../model/families.ts";
import type { Ip } from "../model/ip.ts";
import { attributeEnd, attributeType, nextAttribute, payloadOf, readText } from "../netlink/attributes.ts";
import { backendsTable } from "./backends.ts";
import { tableLabel } from "./family.ts";
import { tableName } from "./maps.ts";
import { headerBytes, messageType, tableAttribute } from "./wire.ts";

/** A table as nft names it: `ip filter`. */
export type TableLabel = string;

/** NFPROTO_*. */
const families = new Map([
  [1, "inet"],
  [2, "ip"],
  [3, "arp"],
  [5, "netdev"],
  [7, "bridge"],
  [10, "ip6"],
]);

/** The names of the agent's tables begin with this, but for one. */
const ownPrefix = tableLabel(tableName);
const ownBackends = tableLabel(backendsTable);
const ownInet = `inet ${tableName}_`;

/** NFPROTO_* of a family named by {@link tableOf}. 0 (all families) for any other name. */
export function protocolFamilyOf(name: string): number {
  return families.entries().find(([, family]) => family === name)?.[0] ?? 0;
}

/**
 * The table that a message belongs to. The first attribute of every message type is the table's name.
 *
 * @returns `undefined` if the message has no table
 */
export function tableOf(view: DataView, start: number, end: number): TableLabel | undefined {
  if (end - start < headerBytes) return undefined;
  const family = families.get(view.getUint8(start));
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== tableAttribute.name) continue;
    return family && `${family} ${readText(view, payloadOf(at), attributeEnd(view, at, end))}`;
  }
  return undefined;
}

/** True if the table is not the agent's and can contain our addresses. IPv6 tables cannot. */
export function isForeign(label: TableLabel): boolean {
  return (
    !label.startsWith(ownPrefix) &&
    !label.startsWith(ownInet) &&
    label !== ownBackends &&
    !label.startsWith("ip6 ")
  );
}

/** The table in a dump message. `undefined` if it is ours or an IPv6 table. */
export function foreignTable(
  type: number,
  view: DataView,
  start: number,
  end: number,
): TableLabel | undefined {
  const label = type === messageType.newTable ? tableOf(view, start, end) : undefined;
  return label !== undefined && isForeign(label) ? label : undefined;
}

/** True if nft parses the label as a table name and nothing else. */
export function isListable(label: TableLabel): boolean {
  return /^[a-z]+ [A-Za-z_][A-Za-z0-9_.]*$/.test(label);
}

/**
 * The rules and element lists of an nft listing, one line each, with table and chain in front: `ip filter INPUT ip
 * saddr 203.0.113.9 drop`.
 */
export function parseListing(text: string): readonly string[] {
  const rules: string[] = [];
  let [table, block] = ["", ""];
  for (const line of joinLines(text)) {
    const [, isTable, label] = /^(table |\t(?:chain|set|map) )(.+) \{(?: # handle \d+)?$/.exec(line) ?? [];
    if (label === undefined) {
      if (line.startsWith("\t\t")) rules.push(`${table} ${block} ${line.trim()}`);
    } else if (isTable === "table ") table = label;
    else block = label;
  }
  return rules;
}

/** nft breaks a list of elements after a comma. Joins such lines. */
function joinLines(text: string): readonly string[] {
  return text.replace(/,\n\t\t\s+/g, ", ").split("\n");
}

/** The lines of `rules` that contain `address` as a whole, not as a part of a longer one. */
export function linesNaming(rules: readonly string[], address: Ip): readonly string[] {
  const names = familyOf(address).mentionOf(address);
  return rules.filter((line) => names.test(line));
}
