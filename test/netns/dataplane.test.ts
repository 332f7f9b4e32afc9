/** The main path: one full set, and its effect on traffic, rules, addresses and routes. */
import t from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { labAddresses } from "../support/lab.ts";
import { eip, gateway, outsideTcp, outsideUdp, tcp, udp, webDnat } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  dnats: [
    webDnat,
    {
      name: "dns",
      eip: "eip-11",
      protocol: "udp",
      externalPort: 5353,
      internalIp: "10.0.1.6",
      internalPort: 53,
    },
  ],
  snats: [{ name: "all", eip: "eip-12", internalCIDR: "10.0.1.0/24" }],
};

const hairpin = (address: string) =>
  `-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst ${address} -j SNAT --to-source ${address} --random-fully`;

/** What `iptables-save` must print, chain by chain. */
const natLayout = [
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
  "-A SHARED_DNAT -d 203.0.113.11/32 -p udp -m udp --dport 5353 -j DNAT --to-destination 10.0.1.6:53",
  "-A SHARED_SNAT -s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.12 --random-fully",
  ...["203.0.113.10", "203.0.113.11", "203.0.113.12"].map(hairpin),
];
const mangleLayout = ["-A PREROUTING -j VPC_MARK", "-A VPC_MARK -i eth0 -j MARK --set-xmark 0x1/0x1"];

/** By chain. The order within each chain is kept. */
function byChain(rules: readonly string[]): readonly string[] {
  const chainOf = (rule: string) => rule.split(" ")[1] ?? "";
  return rules.toSorted((a, b) => (chainOf(a) < chainOf(b) ? -1 : chainOf(a) > chainOf(b) ? 1 : 0));
}

/** Damages owned state by hand, adds foreign state, and returns how to check both. */
async function meddle(gw: Gateway): Promise<{ readonly command: readonly string[]; readonly text: RegExp }> {
  if (gw.dataplane === "nftables") {
    const input = [
      "add table ip foreign",
      "add chain ip foreign other { type nat hook prerouting priority 50; }",
      "add rule ip foreign other ip daddr 192.0.2.1 accept",
      "add element ip natgw fip_in { 203.0.113.12 : 10.0.1.5 }",
      "flush map ip natgw snat_r",
    ];
    await gw.lab.exec("gw", ["nft", "--file", "-"], { input: `${input.join("\n")}\n` });
    return { command: ["nft", "list", "table", "ip", "foreign"], text: /ip daddr 192\.0\.2\.1 accept/ };
  }
  await gw.restore(
    "*nat",
    ":FOREIGN -",
    "-A FOREIGN -d 192.0.2.1/32 -j RETURN",
    "-A POSTROUTING -j FOREIGN",
    "-I EXCLUSIVE_DNAT -d 203.0.113.12/32 -j DNAT --to-destination 10.0.1.5",
    "-D SHARED_SNAT 1",
    "COMMIT",
  );
  const text = /-A POSTROUTING -j FOREIGN\n[\s\S]*-A FOREIGN -d 192\.0\.2\.1\/32 -j RETURN/;
  return { command: [`${gw.variant}-save`, "-t", "nat"], text };
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];

    await t.test("an idle agent waits for a set with the gate closed, and writes nothing", async (t) => {
      const status = await gw.api.status();
      t.equal(status.backend, dataplane);
      t.match(status.degraded, [{ reason: "GateClosed" }]);
      t.match(status, { gate: "closed", untranslated: "forward", bfdGate: "off" });
      t.equal((await gw.api.call("GET", "/readyz")).status, 200, "it is verified all the same");
      await gw.expectConverged(t);
    });

    await t.test("one PUT makes everything Ready", async (t) => {
      const reply = await gw.api.putSet(set, "?wait=10s");
      t.equal(reply.status, 200);
      t.same(reply.body.notReady, []);
      t.match(reply.body, { generation: 1, ready: 7, notReadyTotal: 0 });
      t.match((await gw.api.get("fips/fip")).body, { status: { ready: true } });
      t.match(await gw.api.status(), { gate: "open", degraded: [] });
    });

    await t.test("traffic matches the desired set", async (t) => {
      const asked = [
        // from the outside, with the client's own address
        [outside, tcp("203.0.113.10"), "pod1", labAddresses.outside],
        [outside, udp("203.0.113.10"), "pod1", labAddresses.outside],
        [outside, tcp("203.0.113.11", 8080), "pod2", labAddresses.outside],
        [outside, udp("203.0.113.11", 5353), "pod2", labAddresses.outside],
        // to the outside, as the EIP
        [pod1, outsideTcp, "outside", "203.0.113.10"],
        [pod1, outsideUdp, "outside", "203.0.113.10"],
        [pod2, outsideTcp, "outside", "203.0.113.12"],
        [pod2, outsideUdp, "outside", "203.0.113.12"],
        // from pod to pod by an EIP; who has a FIP is seen as its EIP, others as the EIP they asked
        [pod2, tcp("203.0.113.10"), "pod1", "203.0.113.10"],
        [pod2, udp("203.0.113.10"), "pod1", "203.0.113.10"],
        [pod2, tcp("203.0.113.11", 8080), "pod2", "203.0.113.11"],
        [pod1, tcp("203.0.113.11", 8080), "pod2", "203.0.113.10"],
        [pod1, tcp("203.0.113.10"), "pod1", "203.0.113.10"],
      ] as const;
      for (const [from, target, answeredBy, seenAs] of asked) {
        const { transport, address, port } = target;
        const words = `${from.name} asks ${address}:${port} by ${transport}`;
        t.match(await from.ask(target), { answeredBy, seenAs }, words);
      }
      t.ok(await outside.hearsNothing(tcp("203.0.113.11", 81)), "a port that no DNAT names stays shut");
    });

    await t.test(
      "a DNAT beside a FIP is programmed, and gets packets only after the FIP is removed",
      async (t) => {
        const asked = tcp("203.0.113.10");
        const dnat = {
          eip: "eip-10",
          protocol: "tcp",
          externalPort: asked.port,
          internalIp: "10.0.1.6",
          internalPort: 80,
        };
        t.equal((await gw.api.put("dnats/vain", dnat)).status, 202, "nothing will make it Ready");
        const conditions = [
          { type: "Accepted", status: "True" },
          { type: "Programmed", status: "True" },
          { type: "Ready", status: "False", reason: "Shadowed", message: /fips\/fip/ },
        ];
        t.match((await gw.api.get("dnats/vain")).body, { status: { conditions } });
        t.match((await gw.api.get("fips/fip")).body, { status: { ready: true } });
        t.match(await outside.ask(asked), { answeredBy: "pod1" });
        await gw.expectConverged(t);
        t.equal((await gw.api.delete("fips/fip")).status, 204);
        t.match((await gw.api.get("dnats/vain")).body, { status: { ready: true } });
        t.match(await outside.ask(asked), { answeredBy: "pod2" });
        const [fip] = set.fips;
        t.equal((await gw.api.put("fips/fip", { ...fip })).status, 200);
        t.match((await gw.api.get("dnats/vain")).body, { status: { ready: false } });
        t.match(await outside.ask(asked), { answeredBy: "pod1" });
        t.equal((await gw.api.delete("dnats/vain")).status, 204);
      },
    );

    await t.test("rules, addresses and routes have Kube-OVN's layout", async (t) => {
      if (dataplane !== "nftables") {
        t.same(byChain(await gw.rules("nat")), byChain(natLayout));
        t.same(byChain(await gw.rules("mangle")), byChain(mangleLayout));
      }
      t.same(await gw.addresses("net1"), [
        "203.0.113.254/24",
        "203.0.113.10/24",
        "203.0.113.11/24",
        "203.0.113.12/24",
      ]);
      t.match(
        await gw.lab.exec("gw", ["ip", "route", "show", "default"]),
        /default via 203\.0\.113\.1 dev net1 .*onlink/,
      );
      t.equal((await gw.lab.exec("gw", ["sysctl", "-n", "net.ipv4.ip_forward"])).trim(), "1");
    });

    await t.test("an unbound Eip is not held; rules on it still translate packets that arrive", async (t) => {
      const [bound] = set.eips;
      t.equal((await gw.api.put("eips/eip-10", { ...bound, bound: false })).status, 202);
      t.match((await gw.api.get("eips/eip-10")).body, {
        status: { conditions: [{}, {}, { reason: "Unbound" }] },
      });
      const conditions = [
        {},
        { type: "Programmed", status: "True" },
        { status: "False", reason: "EipNotReady" },
      ];
      t.match((await gw.api.get("fips/fip")).body, { status: { conditions } });
      t.notOk((await gw.addresses("net1")).includes("203.0.113.10/24"));
      await gw.expectConverged(t);
      // No host answers ARP for it: packets arrive by a route.
      await gw.lab.ip("outside", "route add 203.0.113.10/32 via 203.0.113.254");
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1", seenAs: labAddresses.outside });
      t.match(await pod1.ask(outsideTcp), { answeredBy: "outside", seenAs: "203.0.113.10" });
      const [fip] = set.fips;
      t.equal((await gw.api.put("fips/fip", { ...fip, internalIp: "10.0.1.6" })).status, 202);
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod2" });
      t.equal((await gw.api.put("fips/fip", { ...fip })).status, 202);
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
      await gw.expectConverged(t);
      await gw.lab.ip("outside", "route delete 203.0.113.10/32");
      t.equal((await gw.api.put("eips/eip-10", { ...bound })).status, 200);
      t.match((await gw.api.get("fips/fip")).body, { status: { ready: true } });
    });

    await t.test("a Limit is programmed, and its Eip names it", async (t) => {
      const limit = { eip: "eip-10", direction: "egress", rateMbit: 2.5, burstMB: 0.3 };
      const reply = await gw.api.put("limits/slow", limit);
      t.equal(reply.status, 200);
      const conditions = [
        { type: "Accepted", status: "True" },
        { type: "Programmed", status: "True" },
        { type: "Ready", status: "True" },
      ];
      t.match(reply.body, { kind: "Limit", spec: limit, status: { conditions } });
      t.match((await gw.api.get("eips/eip-10")).body, {
        status: { ready: true, usedBy: ["fips/fip", "limits/slow"] },
      });
      await gw.expectConverged(t);
      t.equal((await gw.api.delete("limits/slow")).status, 204);
    });

    await t.test("another interface in the outside subnet takes no EIP away", async (t) => {
      await gw.lab.ip(
        "gw",
        "link add late type veth peer name late-end",
        "address add 203.0.113.253/24 dev late",
        "link set late-end up",
        "link set late up",
      );
      await gw.api.reconcile();
      t.match(await gw.api.get("eips/eip-10"), { body: { status: { ready: true } } });
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
      const late = { name: "late", address: "203.0.113.99/24" };
      t.equal((await gw.api.put("eips/late", late)).status, 200);
      t.equal((await gw.api.delete("eips/late")).status, 204);
      await gw.lab.ip("gw", "link del late");
      await gw.expectConverged(t);
    });

    await t.test("nobody is reached at a broadcast address", async (t) => {
      const upsert = {
        eips: [{ name: "all-outside", address: "203.0.113.255/32" }],
        dnats: [
          {
            name: "all",
            eip: "eip-12",
            protocol: "udp",
            externalPort: 9,
            internalIp: "10.0.1.255",
            internalPort: 9,
          },
        ],
      };
      const reply = await gw.api.call("POST", "/v1/batch?wait=1s", { upsert });
      const noRoute = (message: RegExp) => ({
        status: { conditions: [{ status: "True" }, { status: "True" }, { reason: "NoRoute", message }] },
      });
      t.match(reply.body, {
        notReady: [
          noRoute(
            /answers no ARP for 203\.0\.113\.255: it is the broadcast address of 203\.0\.113\.0\/24 on net1$/,
          ),
          noRoute(/it is the broadcast address of 10\.0\.1\.0\/24 on eth0$/),
        ],
      });
      const names = { eips: ["all-outside"], dnats: ["all"] };
      t.equal((await gw.api.call("POST", "/v1/batch?wait=20s", { delete: names })).status, 200);
      await gw.expectConverged(t);
    });

    await t.test("objects that would cut the gateway off are refused, and in a set left out", async (t) => {
      const eclipsing = { name: "eclipsing", address: "10.0.1.50/25" };
      const covering = { name: "covering", destination: "203.0.113.1/32", via: "10.0.1.5" };
      t.match(await gw.api.put("eips/eclipsing", eclipsing), {
        status: 409,
        body: { code: "conflict", object: "subnet", detail: /10\.0\.1\.0\/24 on eth0/ },
      });
      t.match(await gw.api.put("routes/covering", covering), { status: 409, body: { object: "gateway" } });
      const reply = await gw.api.putSet({
        ...set,
        generation: 2,
        eips: [...set.eips, eclipsing],
        routes: [covering],
      });
      const refused = { conditions: [{ type: "Accepted", status: "False", reason: "Conflict" }] };
      t.match(reply.body, {
        ready: 7,
        notReady: [
          { name: "eclipsing", status: refused },
          { name: "covering", status: refused },
        ],
      });
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.12" });
      t.equal((await gw.api.putSet({ ...set, generation: 3 })).status, 200);
    });

    await t.test("a second pass plans nothing and writes nothing", (t) => gw.expectConverged(t));

    await t.test("a replay is not a write and changes nothing", async (t) => {
      const before = await gw.api.call("GET", "/v1/desired");
      const watch = await gw.watch();
      t.equal((await gw.api.putSet({ ...set, generation: 3 })).status, 200);
      t.same(await watch.stop(), []);
      t.equal((await gw.api.call("GET", "/v1/desired")).etag, before.etag);
    });

    await t.test("foreign changes in owned parts are undone, others are left", async (t) => {
      const before = await gw.translations();
      const stays = await meddle(gw);
      await gw.lab.ip("gw", "address delete 203.0.113.11/24 dev net1", "route delete default");
      const report = await gw.api.reconcile();
      t.same(report.failed, []);
      const isForeign = (rule: string) => rule.includes("FOREIGN");
      t.same(byChain((await gw.translations()).filter((rule) => !isForeign(rule))), byChain(before));
      t.match(await gw.lab.exec("gw", stays.command), stays.text, "what is foreign stays");
      t.match(await outside.ask(tcp("203.0.113.11", 8080)), { answeredBy: "pod2" });
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.12" });
      await gw.expectConverged(t);
    });

    await t.test(
      "an empty set leaves the fixed rules and the gateway's own addresses and routes",
      async (t) => {
        const reply = await gw.api.putSet({ generation: 4 });
        t.equal(reply.status, 200);
        const left = (await gw.translations()).filter((rule) => rule.includes("203.0.113."));
        t.same(left, [], "nothing names an EIP any more");
        t.same(await gw.addresses("net1"), ["203.0.113.254/24"]);
        t.ok(await outside.hearsNothing(tcp("203.0.113.10")));
        await gw.expectConverged(t);
      },
    );
  });
}
