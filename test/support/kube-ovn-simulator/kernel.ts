/** Reads a gateway's kernel with `ip`, `iptables-save` and `nft` as the plain lines of `reference.ts`. */
import type { Gateway } from "../gateway.ts";
import { rangeOf } from "../random-operations/clashes.ts";

export async function readKernel(gw: Gateway): Promise<readonly string[]> {
  const [network, nat, mangle, shared] = await Promise.all([
    readNetwork(gw),
    gw.rules("nat"),
    gw.rules("mangle"),
    readShared(gw),
  ]);
  return [
    ...network,
    ...nat.map((rule) => inWords(rule) ?? `nat ${rule}`),
    ...mangle.map((rule) => `mangle ${rule}`),
    ...shared,
  ];
}

/** Rules of SNATs that never get a packet, because one of a wider network comes before them. */
export async function uselessSnats(gw: Gateway): Promise<readonly string[]> {
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

/** The table `ip kube-ovn`: `shared 203.0.113.10 tcp 80 10.0.1.5:80,10.0.1.6:80`. */
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
    return `shared ${service} ${(several.length > 0 ? several : [single]).sort().join()}`;
  });
}
