/** What is read from rules, addresses and routes, case by case. */

import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { type Imported, importSet } from "../../../../lib/import/import.ts";
import type { FoundInterfaces } from "../../../../lib/import/interfaces.ts";
import { readIptables } from "../../../../lib/import/iptables.ts";
import { readNftables } from "../../../../lib/import/nftables.ts";
import { readPrevious } from "../../../../lib/import/previous.ts";
import type { ReadContext, ReadRules } from "../../../../lib/import/read-rules.ts";
import { parseSave } from "../../../../lib/iptables/save.ts";
import type { GatewayConfig } from "../../../../lib/model/gateway-config.ts";
import { ipv4, parseCidr } from "../../../../lib/model/ipv4.ts";
import { emptyLedger } from "../../../../lib/model/ledger.ts";
import type { ObservedNetwork, ObservedRoute } from "../../../../lib/model/observed.ts";
import { byFilterTable } from "../../../../lib/nftables/filter-table-names.ts";
import { noElements } from "../../../../lib/nftables/maps.ts";
import { noGuardElements } from "../../../../lib/nftables/sets.ts";
import { iptablesRemoval } from "../../../../lib/plan/iptables/removal.ts";
import { bindingRoute } from "../../../../lib/plan/network/bindings.ts";
import { nftablesRemoval } from "../../../../lib/plan/nftables/removal.ts";
import { noApi } from "../../../support/api-guard.ts";
import { device, toIp } from "../../../support/network-values.ts";

const config: GatewayConfig = {
  family: ipv4,
  vpcInterface: device("eth0"),
  externalInterface: device("net1"),
  fallbackGateway: undefined,
  eipBinding: "address",
  untranslated: "forward",
  isBfdGated: false,
  apiGuard: noApi,
};

const chains = [
  "DNAT_FILTER",
  "EXCLUSIVE_DNAT",
  "SHARED_DNAT",
  "SNAT_FILTER",
  "EXCLUSIVE_SNAT",
  "SHARED_SNAT",
  "HAIRPIN_SNAT",
];

function dumpOf(...rules: readonly string[]) {
  const declared = chains.map((chain) => `:${chain} - [0:0]`);
  return parseSave(`*nat\n${[...declared, ...rules].join("\n")}\nCOMMIT\n`, ipv4, []);
}

/** Rules as Kube-OVN's script leaves them. */
function scripted(...rules: readonly string[]) {
  return (context: ReadContext) =>
    readIptables({ variant: "nft", rules: dumpOf(...rules), filterTables: undefined }, context);
}

interface Kernel {
  readonly addresses?: readonly string[];
  readonly routes?: readonly ObservedRoute[];
  /** The interfaces that the rules name. */
  readonly interfaces?: FoundInterfaces;
  readonly links?: readonly string[];
  /** The IPs that rules have as EIP. */
  readonly named?: readonly string[];
}

/** `"net1 203.0.113.10/24"`. */
function networkOf({ addresses = [], routes = [], links = [] }: Kernel): ObservedNetwork {
  return {
    links: links.map((name, index) => ({
      index,
      name: device(name),
      mac: "",
      isUp: true,
      hasCarrier: true,
    })),
    addresses: addresses.map((text) => {
      const [name = "", address = ""] = text.split(" ");
      const [ip = "", length] = address.split("/");
      return {
        interface: device(name),
        address: toIp(ip),
        prefixLength: Number(length),
        isSecondary: false,
        label: "",
      };
    }),
    routes,
    sysctls: new Map(),
  };
}

function imported(
  rules: readonly ((context: ReadContext) => Generator<undefined, ReadRules, undefined>)[],
  kernel: Kernel,
  settings: Partial<GatewayConfig> = {},
): Imported {
  const network = networkOf(kernel);
  const named = new Set((kernel.named ?? []).map(toIp));
  const dataplanes = rules.map((readObjects) => ({ readObjects, interfaces: kernel.interfaces ?? {} }));
  return runSync(
    importSet({ dataplanes, network, ledger: emptyLedger, named, config: { ...config, ...settings } }),
  );
}

function route(
  to: string,
  via: string | undefined,
  name: string,
  more: Partial<ObservedRoute> = {},
): ObservedRoute {
  return {
    table: 254,
    type: "unicast",
    destination: parseCidr(to) as NonNullable<ReturnType<typeof parseCidr>>,
    via: via === undefined ? undefined : toIp(via),
    interface: device(name),
    protocol: 3,
    metric: 0,
    isOnlink: false,
    ...more,
  };
}

const usual = ["eth0 10.0.1.2/24", "net1 203.0.113.254/24", "net1 203.0.113.10/24", "net1 203.0.113.11/24"];

t.test("a gateway of Kube-OVN's script", async (t) => {
  const { set, unread } = imported(
    [
      scripted(
        "-A DNAT_FILTER -j EXCLUSIVE_DNAT",
        "-A DNAT_FILTER -j SHARED_DNAT",
        "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5",
        "-A EXCLUSIVE_SNAT -s 10.0.1.5/32 -j SNAT --to-source 203.0.113.10",
        "-A SHARED_DNAT -d 203.0.113.11/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.6:80",
        "-A SHARED_SNAT -s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.11 --random-fully",
        "-A SHARED_SNAT -s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.10",
        "-A SHARED_SNAT -s 10.0.0.0/16 -o net1 -j SNAT --to-source 203.0.113.12 --random-fully",
        "-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst 203.0.113.13 -j SNAT --to-source 203.0.113.13 --random-fully",
      ),
    ],
    {
      addresses: usual,
      named: ["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"],
      routes: [
        route("0.0.0.0/0", "203.0.113.1", "net1", { isOnlink: true }),
        route("10.0.1.0/24", undefined, "eth0", { protocol: 2 }),
        route("10.0.0.0/16", "10.0.1.1", "eth0"),
        route("10.9.0.0/16", "10.0.1.1", "eth0", { protocol: 186 }),
        route("198.51.100.0/24", "203.0.113.1", "net1"),
      ],
    },
  );
  t.strictSame(unread, []);
  t.strictSame(set, {
    gateway: { defaultGateway: "203.0.113.1" },
    eips: [
      { name: "203.0.113.10", address: "203.0.113.10/24" },
      { name: "203.0.113.11", address: "203.0.113.11/24" },
      { name: "203.0.113.12", address: "203.0.113.12/24", bound: false },
      { name: "203.0.113.13", address: "203.0.113.13/24", bound: false },
    ],
    fips: [{ name: "203.0.113.10", eip: "203.0.113.10", internalIp: "10.0.1.5" }],
    snats: [
      { name: "203.0.113.11-10.0.1.0-24", eip: "203.0.113.11", internalCIDR: "10.0.1.0/24" },
      {
        name: "203.0.113.10-10.0.1.0-24",
        eip: "203.0.113.10",
        internalCIDR: "10.0.1.0/24",
        mapping: "preserve",
      },
      { name: "203.0.113.12-10.0.0.0-16", eip: "203.0.113.12", internalCIDR: "10.0.0.0/16" },
    ],
    dnats: [
      {
        name: "203.0.113.11-tcp-8080",
        eip: "203.0.113.11",
        protocol: "tcp",
        externalPort: 8080,
        internalIp: "10.0.1.6",
        internalPort: 80,
      },
    ],
    limits: [],
    routes: [{ name: "10.0.0.0-16", destination: "10.0.0.0/16", via: "10.0.1.1" }],
  });
});

t.test("what no object stands for is told", async (t) => {
  const rules: Readonly<Record<string, string>> = {
    "-A DNAT_FILTER -j LOG": "not a rule of this chain's layout",
    "-A EXCLUSIVE_DNAT -d 203.0.113.0/24 -j DNAT --to-destination 10.0.1.5": "not the inward half of a FIP",
    "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -p tcp -j DNAT --to-destination 10.0.1.5":
      "not the inward half of a FIP",
    "-A EXCLUSIVE_SNAT -s 10.0.1.0/24 -j SNAT --to-source 203.0.113.10": "not the outward half of a FIP",
    "-A SHARED_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5": "not a rule of a DNAT",
    "-A SHARED_SNAT -s 10.0.1.0/24 -p tcp -j SNAT --to-source 203.0.113.10": "not a rule of an SNAT",
    "-A SHARED_SNAT -s 10.0.1.0/24 -o net2 -j SNAT --to-source 203.0.113.10":
      "203.0.113.10 belongs to net1, not to net2",
    "-A HAIRPIN_SNAT -o eth0 -j SNAT --to-source 203.0.113.10": "not the hairpin rule of an EIP",
    "-A EXCLUSIVE_DNAT -d 10.0.1.2/32 -j DNAT --to-destination 10.0.1.5":
      "10.0.1.2 is the gateway's own address",
    "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 127.0.0.1":
      "127.0.0.1 is not a valid host address",
    "-A SHARED_DNAT -d 203.0.113.10/32 -p tcp -m statistic --mode random --probability 0.10000000009 -m tcp --dport 80 -j DNAT --to-destination 10.0.1.5:80":
      "the backends have unequal shares",
  };
  for (const [rule, why] of Object.entries(rules)) {
    const chain = rule.split(" ")[1];
    const { set, unread } = imported([scripted(rule)], { addresses: usual, named: ["203.0.113.10"] });
    t.strictSame(unread, [{ what: rule, where: `iptables-nft nat ${chain}`, why }], rule);
    t.strictSame([...set.fips, ...set.snats, ...set.dnats], []);
  }
});

t.test("of several rules for the same packets, the first one counts", async (t) => {
  const { set, unread } = imported(
    [
      scripted(
        "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5",
        "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.6",
        "-A EXCLUSIVE_SNAT -s 10.0.1.6/32 -j SNAT --to-source 203.0.113.10",
        "-A SHARED_DNAT -d 203.0.113.11/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.5:80",
        "-A SHARED_DNAT -d 203.0.113.11/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.6:80",
      ),
    ],
    { addresses: usual, named: ["203.0.113.10", "203.0.113.11"] },
  );
  t.match(set.fips, [{ internalIp: "10.0.1.5" }]);
  t.match(set.dnats, [{ internalIp: "10.0.1.5" }]);
  t.same(
    unread.map(({ why }) => why),
    [
      "an earlier rule takes all packets of this port",
      "an earlier rule has the EIP 203.0.113.10",
      "203.0.113.10 leads to 10.0.1.5, not to 10.0.1.6",
    ],
  );
});

t.test("half a FIP is a FIP; the one that is used outwards is the oldest", async (t) => {
  const { set } = imported(
    [
      scripted(
        "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5",
        "-A EXCLUSIVE_DNAT -d 203.0.113.11/32 -j DNAT --to-destination 10.0.1.5",
        "-A EXCLUSIVE_SNAT -s 10.0.1.5/32 -j SNAT --to-source 203.0.113.11",
        "-A EXCLUSIVE_SNAT -s 10.0.1.7/32 -j SNAT --to-source 203.0.113.12",
      ),
    ],
    { addresses: usual },
  );
  t.same(
    set.fips.map(({ eip, internalIp }) => `${eip} ${internalIp}`),
    ["203.0.113.11 10.0.1.5", "203.0.113.12 10.0.1.7", "203.0.113.10 10.0.1.5"],
  );
});

t.test("addresses", async (t) => {
  const eipsOf = (kernel: Kernel) => imported([scripted()], kernel).set.eips;
  t.strictSame(
    eipsOf({ addresses: ["eth0 10.0.1.2/24", "net1 203.0.113.254/24"] }),
    [],
    "its own are no EIPs",
  );
  t.match(
    eipsOf({ addresses: ["net1 203.0.113.10/24", "net1 203.0.113.11/24"], named: ["203.0.113.10"] }),
    [{ name: "203.0.113.10" }],
    "without an address of its own, the first that no rule names is taken for it",
  );
  const onNet2 = { addresses: [...usual, "net2 198.51.100.2/24", "net2 198.51.100.9/24"] };
  t.equal(eipsOf(onNet2).length, 2, "another interface has EIPs if rules name them");
  t.match(eipsOf({ ...onNet2, named: ["198.51.100.9"] }).at(-1), {
    name: "198.51.100.9",
    address: "198.51.100.9/24",
    interface: "net2",
  });
  const routes = [bindingRoute({ interface: device("net1"), address: toIp("203.0.113.20") })];
  t.match(eipsOf({ addresses: ["net1 203.0.113.254/24"], routes }), [{ address: "203.0.113.20/24" }]);
  t.match(eipsOf({ routes }), [{ address: "203.0.113.20/32" }], "in no subnet");
});

t.test("the EIP of an SNAT that leaves by another interface, and is not held, belongs there", async (t) => {
  const { set } = imported(
    [
      scripted(
        "-A EXCLUSIVE_DNAT -d 198.51.100.9/32 -j DNAT --to-destination 10.0.1.5",
        "-A SHARED_SNAT -s 10.0.1.0/24 -o net2 -j SNAT --to-source 198.51.100.9",
      ),
    ],
    { addresses: usual },
  );
  t.match(set.eips.at(-1), { address: "198.51.100.9/32", interface: "net2", bound: false });
  t.equal(set.snats.length, 1);
});

t.test("routes", async (t) => {
  const routes = [
    route("10.0.1.0/24", undefined, "eth0", { protocol: 2 }),
    route("10.8.0.0/16", "10.0.1.1", "eth0", { isOnlink: true }),
    route("10.9.0.0/16", "10.7.0.1", "eth0", { isOnlink: true }),
    route("10.10.0.0/16", "10.0.1.1", "eth0", { metric: 5 }),
  ];
  const { set, unread } = imported([scripted()], { addresses: usual, routes });
  t.match(set.routes, [{ destination: "10.8.0.0/16" }]);
  t.match(unread, [
    { what: "10.9.0.0/16 via 10.7.0.1 dev eth0 proto 3 onlink", where: "main routing table" },
  ]);
  const served = (context: ReadContext) =>
    readIptables(
      {
        variant: "nft",
        rules: dumpOf(),
        filterTables: { definitions: byFilterTable(() => []), elements: noGuardElements } as never,
      },
      context,
    );
  const own = route("10.11.0.0/16", "10.0.1.1", "eth0", { protocol: 196 });
  const again = imported([served], { addresses: usual, routes: [...routes, own] });
  t.match(
    again.set.routes,
    [{ destination: "10.11.0.0/16" }],
    "where the agent served, foreign ones stay foreign",
  );
  t.strictSame(again.unread, []);
});

t.test("the default route's next hop, unless it is that of the settings", async (t) => {
  const routes = [route("0.0.0.0/0", "203.0.113.1", "net1")];
  t.strictSame(imported([scripted()], { routes }).set.gateway, { defaultGateway: "203.0.113.1" });
  t.strictSame(imported([scripted()], { routes }, { fallbackGateway: toIp("203.0.113.1") }).set.gateway, {});
  t.strictSame(imported([scripted()], { routes: [route("0.0.0.0/0", "10.0.1.1", "eth0")] }).set.gateway, {});
});

t.test("nftables: elements that no object stands for", async (t) => {
  const elements = {
    ...noElements,
    dnat_n: new Map([
      ["203.0.113.10 . tcp . 80 . 0x00020000", "10.0.1.5 . 80"],
      ["203.0.113.11 . 47 . 80 . 0x00010000", "10.0.1.5 . 80"],
      ["203.0.113.10 . tcp . 81 . 0x80010000", "10.0.1.5 . 80"],
      ["203.0.113.10 . tcp . 82 . 0x80020000", "10.0.1.5 . 80"],
      ["203.0.113.10 . tcp . 82 . 0x00020001", "10.0.1.6 . 80"],
      ["203.0.113.10 . tcp . 83 . 0x80020001", "10.0.1.6 . 80"],
      ["203.0.113.10 . tcp . 83 . 0x80020000", "10.0.1.5 . 80"],
    ]),
    fip_in: new Map([["*", "10.0.1.5"]]),
    snat_r: new Map([
      ["10.0.1.0-10.0.1.255 . 0.0.0.0", "203.0.113.10"],
      ["10.0.1.0-10.0.1.255 . 0.0.0.1", "203.0.113.11"],
      ["10.0.1.0-10.0.1.255 . 0.0.0.2", "203.0.113.11"],
      ["10.2.0.0-10.2.2.255 . 0.0.0.0-0.0.0.15", "203.0.113.10"],
    ]),
  };
  const observed = {
    table: { definition: [], elements },
    filterTables: { definitions: byFilterTable(() => undefined), elements: noGuardElements } as never,
    foreign: [],
  };
  const { set, unread } = imported([(context) => readNftables(observed, context)], { addresses: usual });
  t.same(
    unread.map(({ where, why }) => `${where}: ${why}`),
    [
      "ip natgw map fip_in: not an EIP and an internal IP",
      "ip natgw map dnat_n: not a service, a draw and a backend",
      "ip natgw map dnat_n: the draws of this service are not 0, 1 and so on",
      "ip natgw map dnat_n: the draws of this service are not 0, 1 and so on",
      "ip natgw map dnat_n: the draws of this service are not 0, 1 and so on",
      "ip natgw map snat_r: its buckets are not those of a pool",
    ],
  );
  const web = { ip: "10.0.1.5", port: 80 };
  t.same(
    set.dnats.map(({ externalPort, backends, sessionAffinity }) => [externalPort, backends, sessionAffinity]),
    [
      [81, [web], "ClientIP"],
      [83, [web, { ip: "10.0.1.6", port: 80 }], "ClientIP"],
    ],
    "by the client's address",
  );
  t.same(
    set.snats.map(({ internalCIDR }) => internalCIDR),
    ["10.2.0.0/23", "10.2.2.0/24"],
    "a range that the guard does not explain is read as its networks",
  );
});

t.test("rules of the dataplane before", async (t) => {
  const rules = dumpOf("-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5");
  const left = (name: string, planner: never, observed: unknown) => (context: ReadContext) =>
    readPrevious({ name, planner, observed }, context);
  const removal = iptablesRemoval as never;
  t.equal(imported([left("iptables-legacy", removal, rules)], { addresses: usual }).set.fips.length, 1);
  t.strictSame(imported([left("iptables-legacy", removal, dumpOf())], { addresses: usual }).unread, []);
  const table = imported([left("nftables", nftablesRemoval as never, new Set(["natgw"]))], {
    addresses: usual,
  });
  t.match(table.unread, [{ what: "all of it", where: "nftables" }]);
});

t.test("other interfaces than those of the settings", async (t) => {
  const kernel = {
    addresses: ["ovn0 10.0.1.2/24", "ext0 203.0.113.254/24", "ext0 203.0.113.10/24"],
    links: ["lo", "ovn0", "ext0"],
    named: ["203.0.113.10"],
    routes: [route("0.0.0.0/0", "203.0.113.1", "ext0"), route("10.8.0.0/16", "10.0.1.1", "ovn0")],
  };
  const others = { vpcInterface: "ovn0", externalInterface: "ext0" };
  const gatewayOf = (interfaces: FoundInterfaces, links = kernel.links) =>
    imported([scripted()], { ...kernel, interfaces, links }).set.gateway;
  const [vpc, external] = [device("ovn0"), device("ext0")];
  const { set } = imported([scripted()], { ...kernel, interfaces: { vpc, external } });
  t.strictSame(set.gateway, { defaultGateway: "203.0.113.1", ...others });
  t.strictSame(set.eips, [{ name: "203.0.113.10", address: "203.0.113.10/24" }]);
  t.match(set.routes, [{ destination: "10.8.0.0/16" }]);
  t.match(gatewayOf({ vpc }), others, "without an SNAT the EIPs tell");
  t.strictSame(gatewayOf({ vpc, external }, ["lo", "ovn0"]), {}, "one of them does not exist");
  t.strictSame(gatewayOf({ vpc: external }), {}, "both are the same");
  t.strictSame(
    gatewayOf({}, ["lo", "ext0", "ovn0", "eth0"]).vpcInterface,
    "eth0",
    "the settings say what the rules do not",
  );
});
