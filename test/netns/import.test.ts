/** An agent without state takes over what it finds: what an agent before it left, and what Kube-OVN's script left. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { callScript } from "../support/nat-gateway.ts";
import { until } from "../support/run.ts";
import { plantToken } from "../support/secrets.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";

const backends = [
  { ip: "10.0.1.5", port: 80 },
  { ip: "10.0.1.6", port: 80 },
];

/** The elements are those of every kind of object. */
const set = {
  generation: 7,
  gateway,
  eips: [eip(10), eip(11), eip(12), { ...eip(13), bound: false }],
  fips: [
    { name: "fip", eip: "eip-10", internalIp: "10.0.1.5" },
    { name: "second", eip: "eip-13", internalIp: "10.0.1.5" },
  ],
  snats: [
    { name: "all", eip: "eip-12", internalCIDR: "10.0.0.0/16" },
    { name: "one", eip: "eip-11", internalCIDR: "10.0.1.0/24" },
    { name: "two", eip: "eip-12", internalCIDR: "10.0.1.0/24", mapping: "preserve" },
    { name: "small", eip: "eip-11", internalCIDR: "10.0.1.16/29" },
    { name: "smaller", eip: "eip-12", internalCIDR: "10.0.1.16/29" },
  ],
  dnats: [
    {
      name: "web",
      eip: "eip-11",
      protocol: "tcp",
      externalPort: 80,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
    { name: "many", eip: "eip-11", protocol: "tcp", externalPort: 81, backends },
  ],
  limits: [
    { name: "whole", direction: "egress", rateMbit: 50, interface: "external", priority: 9 },
    { name: "whole-in", direction: "ingress", rateMbit: 50, burstMB: 1, interface: "external" },
    {
      name: "peer",
      direction: "egress",
      rateMbit: 2.5,
      burstMB: 0.3,
      priority: 2,
      interface: "external",
      match: { dst: "198.51.100.7/32" },
    },
    { name: "in", direction: "ingress", rateMbit: 10, burstMB: 0.06, priority: 3, eip: "eip-10" },
    { name: "out", direction: "egress", rateMbit: 0.5, priority: 1, eip: "eip-10" },
    { name: "late", direction: "egress", rateMbit: 20, priority: 1, eip: "eip-13" },
  ],
  routes: [{ name: "vpc", destination: "10.8.0.0/16", via: "10.0.1.5" }],
};

const objects = {
  eips: ["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"],
  fips: ["203.0.113.10", "203.0.113.13"],
  snats: [
    "203.0.113.11-10.0.1.0-24",
    "203.0.113.11-10.0.1.16-29",
    "203.0.113.12-10.0.0.0-16",
    "203.0.113.12-10.0.1.0-24",
    "203.0.113.12-10.0.1.16-29",
  ],
  dnats: ["203.0.113.11-tcp-80", "203.0.113.11-tcp-81"],
  limits: [
    "203.0.113.10-egress",
    "203.0.113.10-ingress",
    "203.0.113.13-egress",
    "dev-external-egress-all",
    "dev-external-egress-dst-198.51.100.7-32",
    "dev-external-ingress-all",
  ],
  routes: ["10.8.0.0-16"],
};

const unheld = ["eips/203.0.113.13", "fips/203.0.113.13", "limits/203.0.113.13-egress"];

/** What the kernel has of limits, as they were written. */
const limits = set.limits.map(({ name: _, eip, ...limit }) => ({
  ...limit,
  ...(eip !== undefined && { eip: eip.replace("eip-", "203.0.113.") }),
}));

/** In the order of fields that the API has. */
function canonicalLimit({
  direction,
  rateMbit,
  burstMB,
  priority,
  eip,
  interface: name,
  match,
}: LimitFields) {
  return { direction, rateMbit, burstMB, priority, eip, interface: name, match };
}

interface LimitFields {
  readonly direction: string;
  readonly rateMbit: number;
  readonly burstMB?: number;
  readonly priority?: number;
  readonly eip?: string;
  readonly interface?: string;
  readonly match?: object;
}

/** The objects of each kind, by name, and those that are not Ready. */
async function desiredOf({ api }: Gateway) {
  const notReady: string[] = [];
  const names: Record<string, readonly string[]> = {};
  for (const kind of ["eips", "fips", "snats", "dnats", "limits", "routes"]) {
    const { body } = await api.call<{ items: { name: string; status: { ready: boolean } }[] }>(
      "GET",
      `/v1/${kind}`,
    );
    names[kind] = body.items.map(({ name }) => name).sort();
    notReady.push(...body.items.filter(({ status }) => !status.ready).map(({ name }) => `${kind}/${name}`));
  }
  return { names, notReady };
}

for (const dataplane of dataplanes) {
  for (const binding of dataplane === "nftables" ? ["address", "route"] : ["address"]) {
    t.test(`${dataplane}: what an agent before left, bound by ${binding}`, async (t) => {
      const gw = await Gateway.start(t, dataplane, { NATGW_EIP_BINDING: binding });
      await gw.api.putSet(set);
      const [outside, pod2] = [gw.host("outside"), gw.host("pod2")];
      const streams = [await outside.open(tcp("203.0.113.10")), await pod2.open(outsideTcp)];
      await gw.agent.stop();
      await gw.loseState();

      const watch = await gw.watch();
      await gw.startAgent({ NATGW_ADOPT: "auto" }).whenReady();
      t.strictSame(await watch.stop(), [], "the kernel saw no write");
      const { names, notReady } = await desiredOf(gw);
      t.strictSame(names, objects);
      t.strictSame(notReady, unheld, "as before: one Eip is not held");
      t.strictSame((await gw.api.status()).degraded, []);
      const { body } = await gw.api.call<{ limits: { name: string }[] }>("GET", "/v1/desired");
      const read = body.limits.map(({ name: _, ...limit }) => limit);
      const sorted = (list: readonly object[]) => list.map((one) => JSON.stringify(one)).sort();
      t.strictSame(sorted(read), sorted(limits.map(canonicalLimit)), "rates, bursts and priorities");
      for (const stream of streams) {
        t.ok(await stream.advance(20_000), "a live flow goes on");
        t.ok((await stream.close()).isIntact);
      }
      await gw.expectConverged(t);

      await gw.agent.kill();
      await gw.startAgent().whenReady();
      t.strictSame((await desiredOf(gw)).names, objects, "it was stored");
      t.match(await gw.api.put("fips/203.0.113.10", { eip: "203.0.113.10", internalIp: "10.0.1.5" }), {
        status: 200,
      });

      const lose = async () => {
        await gw.agent.stop();
        await gw.loseState();
        const watch = await gw.watch();
        await gw.startAgent({ NATGW_ADOPT: "auto" }).whenReady();
        await gw.api.reconcile();
        t.strictSame(await watch.stop(), [], "the kernel saw no write");
      };
      const empty = { generation: 1, gateway, eips: [], fips: [], snats: [], dnats: [], routes: [] };
      const device = set.limits[0];
      for (const [what, rest] of [
        ["limits alone", { limits: [device] }],
        ["a Route alone", { limits: [], routes: set.routes }],
        ["no object at all", { limits: [] }],
      ] as const) {
        const { body: before } = await gw.api.call<{ generation: number }>("GET", "/v1/desired");
        const generation = before.generation + 1;
        t.match(await gw.api.putSet({ ...empty, ...rest, generation }, "?wait=10s"), { status: 200 }, what);
        await lose();
        const { names } = await desiredOf(gw);
        t.strictSame(
          [names.limits?.length, names.routes?.length],
          ["limits" in rest ? rest.limits.length : 0, "routes" in rest ? 1 : 0],
          what,
        );
        t.match(
          await callScript(gw, "argv", ["eip-add", "203.0.113.77/24"]),
          { exitCode: 0, stderr: "" },
          `${what}: init is remembered`,
        );
        t.match(await callScript(gw, "argv", ["eip-del", "203.0.113.77/24"]), { exitCode: 0 });
      }
    });
  }
}

for (const dataplane of ["iptables-nft", "nftables"] as const) {
  t.test(`${dataplane}: the interfaces are those of the rules, not those of the settings`, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    await gw.api.putSet(set);
    const stream = await gw.host("outside").open(tcp("203.0.113.10"));
    await gw.agent.stop();
    await gw.loseState();
    const watch = await gw.watch();
    const others = { NATGW_VPC_INTERFACE: "eth7", NATGW_EXTERNAL_INTERFACE: "net7" };
    await gw.startAgent({ NATGW_ADOPT: "auto", ...others }).whenReady();
    t.strictSame(await watch.stop(), [], "the kernel saw no write");
    const { body } = await gw.api.call("GET", "/v1/desired");
    t.match(body, { gateway: { vpcInterface: "eth0", externalInterface: "net1" } });
    const { names, notReady } = await desiredOf(gw);
    t.strictSame(names, objects);
    t.strictSame(notReady, unheld);
    t.ok((await stream.advance(20_000)) && (await stream.close()).isIntact, "a live flow goes on");
    await gw.expectConverged(t);
  });
}

t.test("the rules' external interface is not taken over if the API listens there", async (t) => {
  const gw = await Gateway.start(t, "nftables");
  await gw.api.putSet(set);
  await gw.agent.stop();
  await gw.loseState();
  const tokenFile = join(gw.secretDirectory, "token");
  await writeFile(tokenFile, plantToken("token"));
  const others = { NATGW_VPC_INTERFACE: "eth7", NATGW_EXTERNAL_INTERFACE: "net7" };
  const listener = { NATGW_LISTEN: "203.0.113.254:9477", NATGW_TOKEN_FILE: tokenFile };
  await gw.startAgent({ NATGW_ADOPT: "auto", ...others, ...listener }).whenLive();
  const why = "NATGW_LISTEN: 203.0.113.254:9477 is an address on the external interface net1";
  const notAdopted = await until("the first pass to end", async () =>
    (await gw.api.status()).degraded.find(({ reason }) => reason === "NotAdopted"),
  );
  t.match(notAdopted.message, `NATGW_ADOPT=auto does not: gateway/externalInterface: ${why}`);
  t.match(await gw.api.call("POST", "/v1/import?from=kernel&adopt=true"), {
    status: 409,
    body: { code: "conflict", detail: `gateway/externalInterface: ${why}` },
  });
  t.match(await gw.api.call("GET", "/v1/desired"), { body: { eips: [] } });
  await gw.agent.stop();
  await gw.startAgent({ NATGW_ADOPT: "auto", ...others }).whenReady();
  t.strictSame((await desiredOf(gw)).names, objects);
});

const chains = [
  "DNAT_FILTER",
  "EXCLUSIVE_DNAT",
  "SHARED_DNAT",
  "SNAT_FILTER",
  "EXCLUSIVE_SNAT",
  "SHARED_SNAT",
  "HAIRPIN_SNAT",
];

const hairpin = (ip: string) =>
  `-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst ${ip} -j SNAT --to-source ${ip} --random-fully`;

/** A FIP, a DNAT, two SNATs, and the hairpin rules of their EIPs. */
const scripted = [
  "*mangle",
  ":VPC_MARK -",
  "-A PREROUTING -j VPC_MARK",
  "-A VPC_MARK -i eth0 -j MARK --set-xmark 0x1/0x1",
  "COMMIT",
  "*nat",
  ...chains.map((chain) => `:${chain} -`),
  "-A PREROUTING -j DNAT_FILTER",
  "-A POSTROUTING -j SNAT_FILTER",
  "-A DNAT_FILTER -j EXCLUSIVE_DNAT",
  "-A DNAT_FILTER -j SHARED_DNAT",
  "-A SNAT_FILTER -j EXCLUSIVE_SNAT",
  "-A SNAT_FILTER -j SHARED_SNAT",
  "-A SNAT_FILTER -j HAIRPIN_SNAT",
  "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5",
  "-A EXCLUSIVE_SNAT -s 10.0.1.5/32 -j SNAT --to-source 203.0.113.10",
  "-A SHARED_DNAT -d 203.0.113.11/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.6:80",
  "-A SHARED_SNAT -s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.11 --random-fully",
  "-A SHARED_SNAT -s 10.0.0.0/16 -o net1 -j SNAT --to-source 203.0.113.11",
  ...[10, 11].map((last) => hairpin(`203.0.113.${last}`)),
  "COMMIT",
];

/** Kube-OVN's table of DNATs with several backends. Its names are not those of the agent. */
const scriptedBackends = [
  "add table ip kube-ovn",
  "add map ip kube-ovn service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }",
  "add chain ip kube-ovn dnat-0a1b2c3d4e5f",
  "add chain ip kube-ovn services { type nat hook prerouting priority dstnat; }",
  "add rule ip kube-ovn dnat-0a1b2c3d4e5f meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.0.1.5 . 80, 1 : 10.0.1.6 . 80 }",
  "add element ip kube-ovn service-ips { 203.0.113.11 . tcp . 9090 : goto dnat-0a1b2c3d4e5f }",
  "add rule ip kube-ovn services ip daddr . meta l4proto . th dport vmap @service-ips",
];

/** What comes in gets to a device of its own first. */
const scriptedLimits = [
  "ip link add ifb-net1 type ifb",
  "ip link set ifb-net1 up",
  "tc qdisc add dev net1 ingress",
  ...["net1", "ifb-net1"].flatMap((device) => [
    `tc qdisc add dev ${device} root handle 1: htb default 9999`,
    `tc class add dev ${device} parent 1: classid 1:9999 htb rate 10000mbit ceil 10000mbit`,
    `tc class add dev ${device} parent 1: classid 1:270f htb rate 20.5mbit ceil 20.5mbit burst 314573 cburst 314573`,
    `tc filter add dev ${device} parent 1: protocol ip prio 2 u32 match ip ${device === "net1" ? "src" : "dst"} 203.0.113.10/32 flowid 1:270f`,
  ]),
  "tc class add dev net1 parent 1: classid 1:8000 htb rate 5mbit ceil 5mbit burst 1048576 cburst 1048576",
  "tc filter add dev net1 parent 1: protocol ip prio 3 u32 match ip dst 198.51.100.0/24 flowid 1:8000",
  "tc filter add dev net1 parent ffff: protocol all prio 65535 u32 match u32 0 0 action mirred egress redirect dev ifb-net1",
];

for (const dataplane of ["iptables-nft", "iptables-legacy"] as const) {
  for (const way of dataplane === "iptables-nft" ? ["at the start", "on request"] : ["at the start"]) {
    t.test(`${dataplane}: what Kube-OVN's script left, ${way}`, async (t) => {
      const gw = await Gateway.make(t, dataplane);
      const saved = async () => {
        const text = await gw.lab.exec("gw", [`${gw.variant}-save`]);
        return text
          .split("\n")
          .filter((line) => !line.startsWith("#"))
          .map((line) => line.replace(/\[\d+:\d+\]/, ""));
      };
      await gw.lab.exec("gw", ["sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1"]);
      await gw.restore(...scripted);
      await gw.lab.ip(
        "gw",
        ...[10, 11].map((last) => `address add 203.0.113.${last}/24 dev net1`),
        "route add default via 203.0.113.1 dev net1 onlink",
        "route add 10.9.0.0/16 via 10.0.1.1 dev eth0",
      );
      for (const command of scriptedLimits) await gw.lab.exec("gw", command.split(" "));
      const hasBackends = dataplane === "iptables-nft";
      if (hasBackends) for (const command of scriptedBackends) await gw.lab.exec("gw", ["nft", command]);
      const [outside, pod2] = [gw.host("outside"), gw.host("pod2")];
      const streams = [
        await outside.open(tcp("203.0.113.10")),
        await outside.open(tcp("203.0.113.11", 8080)),
        ...(hasBackends ? [await outside.open(tcp("203.0.113.11", 9090))] : []),
        await pod2.open(outsideTcp),
      ];
      const before = await saved();
      const addresses = await gw.addresses("net1");

      if (way === "at the start") await gw.startAgent({ NATGW_ADOPT: "auto" }).whenReady();
      else {
        await gw.startAgent().whenLive();
        const watch = await gw.watch();
        const read = await gw.api.call<{ set: object; unread: unknown[] }>("POST", "/v1/import?from=kernel");
        t.strictSame(read.body.unread, []);
        await until("the first pass to end", async () => {
          const [first, ...others] = (await gw.api.status()).degraded;
          return first?.reason === "NotAdopted" && others.length === 0;
        });
        t.strictSame(await watch.stop(), [], "reading writes nothing");
        t.equal((await gw.api.call("POST", "/v1/import?from=kernel&adopt=true")).status, 200);
        t.equal((await gw.api.call("POST", "/v1/import?from=kernel&adopt=true")).status, 409, "only once");
        await gw.api.reconcile();
      }
      t.strictSame(await saved(), before, "iptables-save prints the same");
      t.strictSame(await gw.addresses("net1"), addresses);
      const { names, notReady } = await desiredOf(gw);
      t.strictSame(notReady, []);
      t.strictSame(names, {
        eips: ["203.0.113.10", "203.0.113.11"],
        fips: ["203.0.113.10"],
        snats: ["203.0.113.11-10.0.0.0-16", "203.0.113.11-10.0.1.0-24"],
        dnats: ["203.0.113.11-tcp-8080", ...(hasBackends ? ["203.0.113.11-tcp-9090"] : [])],
        limits: ["203.0.113.10-egress", "203.0.113.10-ingress", "dev-external-egress-dst-198.51.100.0-24"],
        routes: ["10.0.0.0-8", "10.9.0.0-16"],
      });
      const { body: limit } = await gw.api.get("limits/203.0.113.10-ingress");
      t.match(limit, { spec: { rateMbit: 20.5, burstMB: 0.3, priority: 2 } });
      const qdiscs = await gw.lab.exec("gw", ["tc", "qdisc", "show"]);
      t.notMatch(qdiscs, /ingress|default 0x9999/, "the script's qdiscs are gone");
      t.match(await gw.lab.exec("gw", ["tc", "class", "show", "dev", "ifb-net1"]), "ceil 20500Kbit", "R9");
      for (const stream of streams) {
        t.ok(await stream.advance(20_000), "a live flow goes on");
        t.ok((await stream.close()).isIntact);
      }
      await gw.expectConverged(t);
    });
  }
}
