/** Reads a gateway's kernel with `ip`, `iptables-save` and `nft` as the plain lines of `reference.ts`. */
import type { Gateway } from "../gateway.ts";
import { rangeOf } from "../random-operations/clashes.ts";

/** Of the nftables dataplane without its translations: `iptables-save` does not print them. */
export async function readKernel(gw: Gateway): Promise<readonly string[]> {
  const [network, limits] = await Promise.all([readNetwork(gw), readLimits(gw)]);
  if (gw.dataplane === "nftables") return [...network, ...limits];
  const [nat, mangle, shared] = await Promise.all([gw.rules("nat"), gw.rules("mangle"), readShared(gw)]);
  return [
    ...network,
    ...limits,
    ...nat.map((rule) => inWords(rule) ?? `nat ${rule}`),
    ...mangle.map((rule) => `mangle ${rule}`),
    ...shared,
  ];
}

/** Rules of SNATs that never get a packet, because one of a wider network comes before them. */
export async function uselessSnats(gw: Gateway): Promise<readonly string[]> {
  if (gw.dataplane === "nftables") return [];
  const rules = (await gw.rules("nat")).flatMap((rule) => {
    const [, cidr] = /^-A SHARED_SNAT -s (\S+) /.exec(rule) ?? [];
    return cidr === undefined ? [] : [{ rule, range: rangeOf(cidr) }];
  });
  return rules
    .filter(({ range: [first, last] }, at) =>
      rules.slice(0, at).some(({ range }) => range[0] <= first && range[1] >= last),
    )
    .map(({ rule }) => rule);
}

interface Address {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
  readonly protocol?: string;
}

/** Without the routes that the kernel makes of addresses. */
async function readNetwork({ lab }: Gateway): Promise<readonly string[]> {
  const read = (...args: readonly string[]) => lab.exec("gw", ["ip", "-4", "-j", ...args]);
  const addresses = JSON.parse(await read("address", "show")) as readonly Address[];
  const routes = JSON.parse(await read("route", "show")) as readonly Route[];
  const forwarding = await lab.exec("gw", ["cat", "/proc/sys/net/ipv4/ip_forward"]);
  return [
    ...addresses
      .filter(({ ifname }) => ifname !== "lo")
      .flatMap(({ ifname, addr_info }) =>
        addr_info.map(({ local, prefixlen }) => `address ${local}/${prefixlen} ${ifname}`),
      ),
    ...routes
      .filter(({ protocol }) => protocol !== "kernel")
      .map(({ dst, gateway = "-", dev, protocol = "boot" }) => `route ${dst} ${gateway} ${dev} ${protocol}`),
    `forwarding ${forwarding.trim()}`,
  ];
}

/** Forms of rules, and their lines. */
const forms: readonly (readonly [RegExp, string])[] = [
  [/^-A EXCLUSIVE_DNAT -d ([\d.]+)\/32 -j DNAT --to-destination ([\d.]+)$/, "fip-in $1 $2"],
  [/^-A EXCLUSIVE_SNAT -s ([\d.]+)\/32 -j SNAT --to-source ([\d.]+)$/, "fip-out $1 $2"],
  [
    /^-A SHARED_DNAT -d ([\d.]+)\/32 -p (\w+) -m \2 --dport (\d+) -j DNAT --to-destination ([\d.:]+)$/,
    "dnat $1 $2 $3 $4",
  ],
  [/^-A SHARED_SNAT -s (\S+) -o (\S+) -j SNAT --to-source ([\d.]+)( --random-fully)?$/, "snat $3 $1 $2$4"],
  [
    /^-A HAIRPIN_SNAT -o (\S+) -m mark --mark 0x1\/0x1 -m conntrack --ctstate DNAT --ctorigdst ([\d.]+)(?:\/32)? -j SNAT --to-source \2 --random-fully$/,
    "hairpin $2 $1",
  ],
];

function inWords(rule: string): string | undefined {
  const form = forms.find(([pattern]) => pattern.test(rule));
  return form && rule.replace(form[0], form[1]);
}

/** The table `ip kube-ovn`: `shared 203.0.113.10 tcp 80 10.0.1.5:80,10.0.1.6:80`, perhaps ` by client`. */
async function readShared({ lab }: Gateway): Promise<readonly string[]> {
  const tables = await lab.exec("gw", ["nft", "list", "tables", "ip"]);
  if (!/^table ip kube-ovn$/m.test(tables)) return [];
  const text = await lab.exec("gw", ["nft", "list", "table", "ip", "kube-ovn"]);
  const led = Array.from(
    text.matchAll(/([\d.]+) \. (\w+) \. (\d+) : goto ([\w.-]+)/g),
    ([, ip, protocol, port, chain]) => ({ service: `${ip} ${protocol} ${port}`, chain }),
  );
  return Array.from(text.matchAll(/^\tchain (dnat-\S+) \{(.*?)^\t\}/gms), ([, name, rules = ""]) => {
    const service = led.find(({ chain }) => chain === name)?.service ?? `unreached ${name}`;
    const several = Array.from(rules.matchAll(/: ([\d.]+) \. (\d+)/g), ([, ip, port]) => `${ip}:${port}`);
    const [single] = /[\d.]+:\d+/.exec(rules) ?? [];
    const by = rules.includes("jhash ip saddr") ? " by client" : "";
    return `shared ${service} ${(several.length > 0 ? several : [single]).sort().join()}${by}`;
  });
}

/** The table of limits, with the rates of the classes that it names: lines as in `reference.ts`. */
async function readLimits({ lab }: Gateway): Promise<readonly string[]> {
  const tables = await lab.exec("gw", ["nft", "list", "tables", "ip"]);
  if (!/^table ip natgw_qos$/m.test(tables)) return [];
  const text = await lab.exec("gw", ["nft", "list", "table", "ip", "natgw_qos"]);
  const rules = text
    .split("\n")
    .filter((line) => / oifname |^\s+oifname /.test(line) && !/ct direction reply/.test(line));
  const devices = new Set(rules.flatMap((rule) => /oifname "([^"]+)"/.exec(rule)?.[1] ?? []));
  const rates = new Map<string, number>();
  for (const device of devices) {
    const classes = await lab.exec("gw", ["tc", "class", "show", "dev", device]);
    for (const [, id = "", ceil = ""] of classes.matchAll(/^class htb (\S+) .* ceil (\S+) /gm))
      rates.set(`${device} ${id}`, bitsOf(ceil));
  }
  return rules.flatMap((rule) => {
    const [, out = ""] = /oifname "([^"]+)"/.exec(rule) ?? [];
    const from = / iifname "([^"]+)"/.exec(rule)?.[1] ?? "-";
    const side = / saddr /.test(rule) ? "src" : "dst";
    const line = (match: string, id: string, priority: string) =>
      `limit out ${out} in ${from} ${match} rate ${rates.get(`${out} ${id}`)} priority ${priority}`;
    const [, map] = /map @(\S+)/.exec(rule) ?? [];
    if (map !== undefined) {
      const [, elements = ""] = new RegExp(`map ${map} \\{[^}]*elements = \\{([^}]*)\\}`).exec(text) ?? [];
      return Array.from(elements.matchAll(/([\d.]+) comment "priority (\d+)" : (\S+?)(?:,|\s|$)/g), (found) =>
        line(`${side} ${found[1]}`, found[3] ?? "", found[2] ?? ""),
      );
    }
    const [, network] = /[sd]addr ([\d./]+) /.exec(rule) ?? [];
    const [, id = "", priority = ""] = /meta priority set (\S+) comment "priority (\d+)"/.exec(rule) ?? [];
    const cidr = network === undefined || network.includes("/") ? network : `${network}/32`;
    return line(cidr === undefined ? "all" : `${side} ${cidr}`, id, priority);
  });
}

/** `10Mbit`, `2500Kbit`. */
function bitsOf(rate: string): number {
  const [, number = "0", unit = ""] = /^([\d.]+)(K|M|G)?bit$/.exec(rate) ?? [];
  return Math.round(Number(number) * { "": 1, K: 1e3, M: 1e6, G: 1e9 }[unit as "" | "K" | "M" | "G"]);
}
