/**
 * Reads a gateway's kernel with `ip`, `iptables-save` and `nft`, and writes it down as the plain lines of
 * `expectation.ts`, the same for each dataplane. What it does not understand is a line too, so it never goes unseen.
 */
import type { Gateway } from "../gateway.ts";
import { numberOf, rangeOf } from "./clashes.ts";
import { clients } from "./expectation.ts";

/** A rule or element of an SNAT. */
interface Choice {
  readonly text: string;
  readonly eip: string;
  readonly mapping: "random" | "preserve";
  takes(client: number): boolean;
}

export async function readNetwork({ lab }: Gateway): Promise<readonly string[]> {
  const script = [
    "ip -4 -j address show",
    "ip -4 -j route show table main",
    "ip -4 -j route show table local proto 196",
    "cat /proc/sys/net/ipv4/ip_forward",
  ].join(" && echo && ");
  const parts = (await lab.exec("gw", ["sh", "-c", script])).split("\n").filter((line) => line.trim() !== "");
  const [links, main, local] = parts.slice(0, -1).map((text) => JSON.parse(text) as readonly Reading[]);
  return [
    ...(links ?? []).flatMap(({ ifname, addr_info = [] }) =>
      addr_info.filter(() => ifname !== "lo").map((one) => `address ${one.local}/${one.prefixlen} ${ifname}`),
    ),
    ...(main ?? []).map(
      (one) => `route ${one.dst} ${one.gateway ?? "-"} ${one.dev} ${one.protocol ?? "boot"}`,
    ),
    ...(local ?? []).map(({ dst, dev }) => `local ${dst} ${dev}`),
    `forwarding ${parts.at(-1)?.trim()}`,
  ];
}

/** The class above all limits, which holds nothing back. */
const boundless = "1Tbit";

/** The other classes of both interfaces: a limit each. */
export async function readLimits({ lab }: Gateway): Promise<readonly string[]> {
  const read = async (device: string) => {
    const text = await lab.exec("gw", ["tc", "class", "show", "dev", device]);
    const rates = Array.from(text.matchAll(/ceil (\S+)/g), ([, rate]) => rate);
    return rates.filter((rate) => rate !== boundless).map((rate) => `limit ${device} ${rate}`);
  };
  return [...(await read("eth0")), ...(await read("net1"))];
}

interface Reading {
  readonly ifname?: string;
  readonly addr_info?: readonly { readonly local: string; readonly prefixlen: number }[];
  readonly dst?: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly protocol?: string;
}

export function readTranslations(gw: Gateway): Promise<readonly string[]> {
  return gw.dataplane === "nftables" ? readElements(gw) : readChains(gw);
}

/** Everything in the tables of iptables, and the backends in `ip kube-ovn`. */
async function readChains(gw: Gateway): Promise<readonly string[]> {
  const lines: string[] = [];
  const choices: Choice[] = [];
  const save = [`${gw.variant}-save`, "-t"];
  for (const table of ["nat", "mangle"]) {
    const text = await gw.lab.exec("gw", [...save, table]);
    for (const rule of text.split("\n").filter((line) => line.startsWith("-A "))) {
      const choice = choiceOf(rule);
      if (choice === undefined) lines.push(ruleInWords(rule) ?? `${table} ${rule}`);
      else choices.push(choice);
    }
  }
  return [...lines, ...(await readBackends(gw)), ...decide(choices)];
}

const ruleForms: readonly (readonly [RegExp, (groups: Readonly<Record<string, string>>) => string])[] = [
  [
    /^-A EXCLUSIVE_DNAT -d (?<eip>[\d.]+)\/32 -j DNAT --to-destination (?<ip>[\d.]+)$/,
    ({ eip, ip }) => `fip-in ${eip} ${ip}`,
  ],
  [
    /^-A EXCLUSIVE_SNAT -s (?<ip>[\d.]+)\/32 -j SNAT --to-source (?<eip>[\d.]+)$/,
    ({ eip, ip }) => `fip-out ${ip} ${eip}`,
  ],
  [
    /^-A SHARED_DNAT -d (?<eip>[\d.]+)\/32 -p (?<protocol>\w+) -m \k<protocol> --dport (?<port>\d+)(?: -m statistic --mode random --probability [\d.]+)? -j DNAT --to-destination (?<to>[\d.:]+)$/,
    ({ eip, protocol, port, to }) => `dnat ${eip} ${protocol} ${port} ${to}`,
  ],
  [
    /^-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1\/0x1 -m conntrack --ctstate DNAT --ctorigdst (?<eip>[\d.]+)(?:\/32)? -j SNAT --to-source \k<eip> --random-fully$/,
    ({ eip }) => `hairpin ${eip}`,
  ],
];

function ruleInWords(rule: string): string | undefined {
  for (const [form, words] of ruleForms) {
    const groups = form.exec(rule)?.groups;
    if (groups !== undefined) return words(groups);
  }
  return undefined;
}

/** `-s 10.0.1.3/255.255.255.15` is a bucket: any bits may be in the mask. */
function choiceOf(rule: string): Choice | undefined {
  const form =
    /^-A SHARED_SNAT -s ([\d.]+)\/([\d.]+) -o net1 -j SNAT --to-source ([\d.]+)( --random-fully)?$/;
  const [text, network = "", mask = "", eip = "", random] = form.exec(rule) ?? [];
  if (text === undefined) return undefined;
  const bits = mask.includes(".") ? BigInt(numberOf(mask)) : BigInt(2 ** 32 - 2 ** (32 - Number(mask)));
  const value = BigInt(numberOf(network));
  return {
    text,
    eip,
    mapping: random === undefined ? "preserve" : "random",
    takes: (client) => (BigInt(client) & bits) === value,
  };
}

/** What each client gets from the first choice that takes it. A choice that no client gets is left over. */
function decide(choices: readonly Choice[]): readonly string[] {
  const used = new Set<Choice>();
  const lines = clients.flatMap((client) => {
    const choice = choices.find((one) => one.takes(numberOf(client)));
    if (choice === undefined) return [];
    used.add(choice);
    return [`snat ${client} ${choice.eip} ${choice.mapping}`];
  });
  return [...lines, ...choices.filter((one) => !used.has(one)).map(({ text }) => `unused ${text}`)];
}

interface Listed {
  readonly map?: { readonly name: string; readonly elem?: readonly (readonly [unknown, unknown])[] };
  readonly chain?: { readonly name: string; readonly hook?: string; readonly prio?: number };
  readonly rule?: { readonly chain: string; readonly expr: readonly unknown[] };
}

async function listTable(gw: Gateway, table: string): Promise<readonly Listed[]> {
  const tables = await gw.lab.exec("gw", ["nft", "list", "tables", "ip"]);
  if (!tables.split("\n").includes(`table ip ${table}`)) return [];
  const text = await gw.lab.exec("gw", ["nft", "-j", "list", "table", "ip", table]);
  return (JSON.parse(text) as { readonly nftables: readonly Listed[] }).nftables;
}

/** `ip kube-ovn`: a verdict map leads each service to a chain whose one rule draws a backend. */
async function readBackends(gw: Gateway): Promise<readonly string[]> {
  const listed = await listTable(gw, "kube-ovn");
  const rules = Map.groupBy(
    listed.flatMap(({ rule }) => rule ?? []),
    ({ chain }) => chain,
  );
  const reached = new Set(["prerouting"]);
  const lines: string[] = [];
  for (const { map } of listed)
    for (const [key, verdict] of map?.elem ?? []) {
      const [, target = "?"] = /"target": ?"([^"]+)"/.exec(JSON.stringify(verdict)) ?? [];
      reached.add(target);
      const drawn = JSON.stringify(rules.get(target) ?? []);
      for (const [, ip, port] of drawn.matchAll(/"concat":\["([\d.]+)",(\d+)\]/g))
        lines.push(`dnat ${wordsOf(key)} ${ip}:${port}`);
    }
  const chains = listed.flatMap(({ chain }) => chain?.name ?? []);
  return [...lines, ...chains.filter((name) => !reached.has(name)).map((name) => `unused chain ${name}`)];
}

/** The table `ip natgw`: its elements, and how many rules each chain has. */
async function readElements(gw: Gateway): Promise<readonly string[]> {
  const listed = await listTable(gw, "natgw");
  const lines: string[] = [];
  const choices: Choice[] = [];
  for (const { map } of listed)
    for (const [key, value] of map?.elem ?? []) {
      if (map?.name.startsWith("snat_")) choices.push(elementChoice(map.name, key, wordsOf(value)));
      else lines.push(elementInWords(map?.name ?? "?", wordsOf(key).split(" "), wordsOf(value).split(" ")));
    }
  for (const { chain } of listed) {
    if (chain === undefined) continue;
    const count = listed.filter(({ rule }) => rule?.chain === chain.name).length;
    lines.push(`chain ${chain.name} ${chain.hook} ${chain.prio} of ${count} rules`);
  }
  return [...lines, ...decide(choices)];
}

function elementInWords(map: string, key: readonly string[], value: readonly string[]): string {
  const [first, protocol, port] = key;
  if (map === "fip_in") return `fip-in ${first} ${value[0]}`;
  if (map === "fip_out") return `fip-out ${first} ${value[0]}`;
  if (map === "hairpin" && first === value[0]) return `hairpin ${first}`;
  if (map === "dnat_1" || map === "dnat_n") return `dnat ${first} ${protocol} ${port} ${value.join(":")}`;
  return `${map} ${key.join(" ")} : ${value.join(" ")}`;
}

/** Client and bucket: the low four bits of the client. */
function elementChoice(map: string, key: unknown, eip: string): Choice {
  const [network = "", buckets = ""] = wordsOf(key).split(" ");
  const [clientsFrom, clientsTo] = spanOf(network);
  const [bucketsFrom, bucketsTo] = spanOf(buckets);
  return {
    text: `${map} ${network} ${buckets} ${eip}`,
    eip,
    mapping: map === "snat_r" ? "random" : "preserve",
    takes: (client) =>
      client >= clientsFrom && client <= clientsTo && client % 16 >= bucketsFrom && client % 16 <= bucketsTo,
  };
}

function spanOf(text: string): readonly [number, number] {
  const [first = "", last] = text.split("-");
  return last === undefined ? rangeOf(first) : [numberOf(first), numberOf(last)];
}

/** An element of `nft -j`: `203.0.113.10 tcp 80`, `10.0.1.0/26 0.0.0.0-0.0.0.4`. */
function wordsOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if ("elem" in value) return wordsOf((value.elem as { readonly val: unknown }).val);
  if ("concat" in value) return (value.concat as readonly unknown[]).map(wordsOf).join(" ");
  if ("range" in value) return (value.range as readonly string[]).join("-");
  if ("prefix" in value) {
    const { addr, len } = value.prefix as { readonly addr: string; readonly len: number };
    return `${addr}/${len}`;
  }
  return JSON.stringify(value);
}
