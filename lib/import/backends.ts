/** Reads the table `ip kube-ovn` as DNATs with backends: the inverse of lib/plan/iptables/backends.ts. */
import type { Family } from "../model/family.ts";
import type { Backend, Protocol } from "../model/schema.ts";
import {
  type BackendsRule,
  backendsMap,
  backendsTable,
  gotoText,
  type ObservedBackends,
  ruleText,
} from "../nftables/backends.ts";
import { tableLabel } from "../nftables/family.ts";
import type { ReadDnat, Unread } from "./read-rules.ts";

export function readBackends(
  { elements, chains }: ObservedBackends,
  family: Family,
): { readonly dnats: readonly ReadDnat[]; readonly unread: readonly Unread[] } {
  const dnats: ReadDnat[] = [];
  const unread: Unread[] = [];
  const used = new Set<string>();
  const inMap = `${tableLabel(backendsTable)} map ${backendsMap}`;
  for (const [key, verdict] of elements) {
    const source = { what: `${key} : ${verdict}`, where: inMap };
    const chain = chainOf(verdict);
    const rule = chain === undefined ? undefined : parseChain(chains.get(chain), family);
    const service = parseService(key, family);
    if (chain !== undefined) used.add(chain);
    if (service === undefined) unread.push({ ...source, why: "not an EIP, a protocol and a port" });
    else if (rule === undefined)
      unread.push({ ...source, why: "its chain does not draw one of several backends" });
    else if (rule.protocol !== service.protocol)
      unread.push({ ...source, why: `its chain translates ${rule.protocol}` });
    else dnats.push({ ...service, ...rule, isList: true, source });
  }
  for (const [name, text] of chains) {
    if (used.has(name)) continue;
    const where = `${tableLabel(backendsTable)} chain ${name}`;
    unread.push({ what: text, where, why: "no element of the map leads to it" });
  }
  return { dnats, unread };
}

/** The service of a key: `203.0.113.10 . tcp . 80`. */
export function parseService(
  key: string,
  family: Family,
): Pick<ReadDnat, "eip" | "protocol" | "externalPort"> | undefined {
  const [address = "", name, port] = key.split(" . ");
  const eip = family.parse(address);
  const protocol = protocols.find((one) => one === name);
  const externalPort = Number(port);
  if (eip === undefined || protocol === undefined || !isPort(externalPort)) return undefined;
  return { eip, protocol, externalPort };
}

/** `10.0.1.7 . 80`. */
export function parseBackend(text: string, family: Family): Backend | undefined {
  const [address = "", port] = text.split(" . ");
  const ip = family.parse(address);
  return ip === undefined || !isPort(Number(port)) ? undefined : { ip, port: Number(port) };
}

const protocols: readonly Protocol[] = ["tcp", "udp", "sctp"];

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function chainOf(verdict: string): string | undefined {
  const [, name] = verdict.split(" ");
  return name !== undefined && verdict === gotoText(name) ? name : undefined;
}

type ReadRule = BackendsRule & { readonly backends: readonly [Backend, ...Backend[]] };

function parseChain(text: string | undefined, family: Family): ReadRule | undefined {
  const found = /^meta l4proto (\S+) .* map \{ (.*) \}$/.exec(text ?? "");
  const protocol = protocols.find((one) => one === found?.[1]);
  const items = found?.[2]?.split(", ") ?? [];
  const backends = items.flatMap((item) => parseBackend(item.slice(item.indexOf(" : ") + 3), family) ?? []);
  const [first, ...others] = backends;
  if (protocol === undefined || first === undefined) return undefined;
  const drawn: ReadRule = { protocol, backends: [first, ...others] };
  return [drawn, { ...drawn, isSticky: true }].find((rule) => ruleText(rule) === text);
}
