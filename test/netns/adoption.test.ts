/** First contact: an agent without state on a gateway in use. */
import t from "tap";
import type { Problem } from "../support/api-client.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";

/** What the old script left in the kernel: a FIP and a SNAT that stay desired, and a FIP that is no longer desired. */
const liveRules = [
  "*mangle",
  ":VPC_MARK -",
  "-A PREROUTING -j VPC_MARK",
  "-A VPC_MARK -i eth0 -j MARK --set-xmark 0x1/0x1",
  "COMMIT",
  "*nat",
  ...[
    "DNAT_FILTER",
    "EXCLUSIVE_DNAT",
    "SHARED_DNAT",
    "SNAT_FILTER",
    "EXCLUSIVE_SNAT",
    "SHARED_SNAT",
    "HAIRPIN_SNAT",
  ].map((chain) => `:${chain} -`),
  ":FOREIGN -",
  "-A PREROUTING -j DNAT_FILTER",
  "-A POSTROUTING -j SNAT_FILTER",
  "-A POSTROUTING -j FOREIGN",
  "-A FOREIGN -d 192.0.2.1/32 -j RETURN",
  "-A DNAT_FILTER -j EXCLUSIVE_DNAT",
  "-A DNAT_FILTER -j SHARED_DNAT",
  "-A SNAT_FILTER -j EXCLUSIVE_SNAT",
  "-A SNAT_FILTER -j SHARED_SNAT",
  "-A SNAT_FILTER -j HAIRPIN_SNAT",
  "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5",
  "-A EXCLUSIVE_SNAT -s 10.0.1.5/32 -j SNAT --to-source 203.0.113.10",
  "-A EXCLUSIVE_DNAT -d 203.0.113.13/32 -j DNAT --to-destination 10.0.1.6",
  "-A SHARED_SNAT -s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.12 --random-fully",
  "COMMIT",
];

const set = {
  generation: 7,
  gateway,
  eips: [eip(10), eip(12)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-12", internalCIDR: "10.0.1.0/24" }],
};

/** No old script used nftables: there an agent has lost its state. */
const lostSet = {
  ...set,
  eips: [...set.eips, eip(13)],
  dnats: [
    {
      name: "old",
      eip: "eip-13",
      protocol: "tcp",
      externalPort: 80,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
  ],
};

async function makeLive(gw: Gateway): Promise<void> {
  if (gw.dataplane === "nftables") {
    await gw.startAgent().whenReady();
    await gw.api.putSet(lostSet);
    await gw.agent.stop();
    await gw.loseState();
    return;
  }
  await gw.lab.exec("gw", ["sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1"]);
  await gw.restore(...liveRules);
  await gw.lab.ip(
    "gw",
    ...[10, 12, 13].map((lastByte) => `address add 203.0.113.${lastByte}/24 dev net1`),
    "route add default via 203.0.113.1 dev net1 onlink",
  );
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.make(t, dataplane);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    await makeLive(gw);
    const wanted = [
      await outside.open(tcp("203.0.113.10")),
      await pod1.open(outsideTcp),
      await pod2.open(outsideTcp),
    ];
    const unwanted = await outside.open(tcp("203.0.113.13"));
    const goOn = async () => {
      for (const stream of wanted) t.ok(await stream.advance(20_000), "a live flow goes on");
    };
    await goOn();
    const rulesBefore = await gw.translations();
    const addressesBefore = await gw.addresses("net1");

    const expectUntouched = async () => {
      const rules = await gw.translations();
      t.same(rules, rulesBefore, "no rule was touched");
      t.same(await gw.addresses("net1"), addressesBefore, "no address was touched");
    };

    await t.test("nothing is removed, and the agent says why", async (t) => {
      await gw.startAgent().whenLive();
      await gw.api.reconcile();
      const status = await gw.api.status();
      t.match(status.degraded, [{ reason: "NotAdopted" }]);
      await expectUntouched();
      await goOn();
      t.ok(await unwanted.advance(20_000));
    });

    await t.test("single writes and batches are refused", async (t) => {
      const refused = [
        await gw.api.put("eips/eip-10", { address: "203.0.113.10/24" }),
        await gw.api.delete("eips/eip-10"),
        await gw.api.call("POST", "/v1/batch", { upsert: { eips: [eip(10)] } }),
      ];
      for (const { status, body } of refused) {
        t.equal(status, 409);
        t.equal((body as unknown as Problem).code, "not-adopted");
      }
      await expectUntouched();
    });

    await t.test("a restart changes nothing of that", async (t) => {
      await gw.agent.kill();
      await gw.startAgent().whenLive();
      await gw.api.reconcile();
      t.match((await gw.api.status()).degraded, [{ reason: "NotAdopted" }]);
      await expectUntouched();
    });

    await t.test("the first full set takes over and ends no permitted flow", async (t) => {
      const reply = await gw.api.putSet(set);
      t.equal(reply.status, 200);
      t.match(reply.body, { ready: 4, notReadyTotal: 0 });
      t.same((await gw.api.status()).degraded, []);
      await goOn();
      for (const stream of wanted) t.ok((await stream.close()).isIntact, "not a byte was lost");
    });

    await t.test("objects outside of the set are removed, foreign state stays", async (t) => {
      // A client that keeps sending to the EIP creates new entries without translation.
      t.same(await gw.flows("203.0.113.13", "10.0.1.6"), [], "no entry translates");
      t.notOk(await unwanted.advance(1, 400));
      t.same(await gw.addresses("net1"), ["203.0.113.254/24", "203.0.113.10/24", "203.0.113.12/24"]);
      const rules = await gw.translations();
      t.same(
        rules.filter((rule) => rule.includes("203.0.113.13")),
        [],
      );
      if (dataplane !== "nftables") t.ok(rules.includes("-A FOREIGN -d 192.0.2.1/32 -j RETURN"));
      await gw.expectConverged(t);
    });

    await t.test("after that single writes are accepted", async (t) => {
      const reply = await gw.api.put("eips/eip-11", { address: "203.0.113.11/24" });
      t.equal(reply.status, 200);
      t.ok(reply.body.status.ready);
    });
  });
}
