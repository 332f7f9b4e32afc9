/** DNATs with a list of backends over iptables: the nftables table that Kube-OVN's tests read, with traffic through it. */
import t, { type Test } from "tap";
import { Gateway, type Variant } from "../support/gateway.ts";
import type { Host, HostStream } from "../support/host.ts";
import { labAddresses } from "../support/lab.ts";
import { eip, eipAddress, gateway, tcp, udp } from "../support/targets.ts";

type Backend = readonly [ip: string, port: number];
const three: readonly Backend[] = [
  ["10.0.1.5", 80],
  ["10.0.1.6", 80],
  ["10.0.1.6", 81],
];

function dnat(protocol: string, externalPort: number, backends: readonly Backend[]) {
  return {
    name: `${protocol}-${externalPort}`,
    eip: "eip-10",
    protocol,
    externalPort,
    backends: backends.map(([ip, port]) => ({ ip, port })),
  };
}

const web = tcp(eipAddress(10), 8090);
const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11)],
  dnats: [
    dnat("tcp", 8090, three),
    dnat("udp", 5353, [
      ["10.0.1.5", 53],
      ["10.0.1.6", 53],
    ]),
    dnat("sctp", 3868, [["10.0.1.5", 3868]]),
    dnat("tcp", 9000, []),
  ],
};

const listed = (gw: Gateway) => gw.lab.exec("gw", ["nft", "list", "table", "ip", "kube-ovn"]);
const nft = (gw: Gateway, input: string) => gw.lab.exec("gw", ["nft", input]);

/** Kube-OVN's check R7. */
async function expectListed(
  t: Test,
  gw: Gateway,
  protocol: string,
  port: number,
  backends: readonly Backend[],
) {
  const text = await listed(gw);
  const key = new RegExp(`203\\.0\\.113\\.10 \\. ${protocol} \\. ${port} : goto`);
  if (backends.length === 0) {
    t.notMatch(text, key);
    return;
  }
  t.match(text, key);
  t.match(text, new RegExp(`numgen random mod ${backends.length} map`));
  for (const [ip, to] of backends) t.match(text, new RegExp(`${ip.replaceAll(".", "\\.")} \\. ${to}`));
}

/** How many of the flows each host answers. */
async function answers(from: Host, target: typeof web, count: number): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (let asked = 0; asked < count; asked++) {
    const answer = await from.ask(target);
    const by = "answeredBy" in answer ? answer.answeredBy : "nobody";
    found.set(by, (found.get(by) ?? 0) + 1);
  }
  return found;
}

/** Rules of the layout before, or of a gateway without nft. */
const statistic = [
  "-A SHARED_DNAT -d 203.0.113.10/32 -p tcp -m statistic --mode random --probability 0.33333333349 -m tcp --dport 8090 -j DNAT --to-destination 10.0.1.5:80",
  "-A SHARED_DNAT -d 203.0.113.10/32 -p tcp -m statistic --mode random --probability 0.50000000000 -m tcp --dport 8090 -j DNAT --to-destination 10.0.1.6:80",
  "-A SHARED_DNAT -d 203.0.113.10/32 -p tcp -m tcp --dport 8090 -j DNAT --to-destination 10.0.1.6:81",
];

for (const variant of ["iptables-nft", "iptables-legacy"] as const satisfies readonly Variant[]) {
  t.test(variant, async (t) => {
    const gw = await Gateway.start(t, variant);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];

    await t.test("new flows are shared equally, by TCP and UDP, from outside and from the VPC", async (t) => {
      const reply = await gw.api.putSet(set, "?wait=10s");
      t.match(reply, { status: 200, body: { notReady: [] } }, "also the one without backends");
      await expectListed(t, gw, "tcp", 8090, three);
      await expectListed(t, gw, "sctp", 3868, [["10.0.1.5", 3868]]);
      await expectListed(t, gw, "tcp", 9000, []);
      t.same(
        (await gw.rules("nat")).filter((rule) => rule.startsWith("-A SHARED_DNAT")),
        [],
        "no rule of iptables",
      );
      const shares = await answers(outside, web, 90);
      const first = shares.get("pod1") ?? 0;
      // A third of 90; both bounds are more than four standard deviations away.
      t.ok(first > 10 && first < 50, `${first} of 90`);
      t.equal(shares.get("pod2"), 90 - first, "the others have the other two thirds");
      t.same([...(await answers(outside, udp(eipAddress(10), 5353), 30)).keys()].sort(), ["pod1", "pod2"]);
      t.match(await outside.ask(web), { seenAs: labAddresses.outside });
      for (const pod of [pod1, pod2])
        for (let asked = 0; asked < 6; asked++)
          t.match(await pod.ask(web), { seenAs: eipAddress(10) }, `${pod.name} by the EIP`);
      await gw.expectConverged(t);
    });

    await t.test("a backend that leaves loses its flows, the others keep theirs", async (t) => {
      const streams = await Promise.all(Array.from({ length: 12 }, () => outside.open(web)));
      for (const stream of streams) t.ok(await stream.advance(5));
      const ofWeb = async () =>
        (await gw.flows("203.0.113.10")).filter((flow) => flow.includes(" dport=8090 "));
      // The answers come from there; as a client it is the source of the first packet.
      const toSecondPod = (flow: string) => / src=10\.0\.1\.6 dst=\S+ sport=8[01] /.test(flow);
      const live = (flows: readonly string[]) => flows.filter((flow) => flow.includes(" ESTABLISHED "));
      const ofSecond = async () => live(await ofWeb()).filter(toSecondPod);
      // The kernel draws the backends: by chance all of the first twelve have the same.
      for (let more = 0; more < 64 && [0, streams.length].includes((await ofSecond()).length); more++) {
        const stream = await outside.open(web);
        t.ok(await stream.advance(5));
        streams.push(stream);
      }
      const toSecond = await ofSecond();
      const left = three.slice(0, 1);
      const count = streams.length;
      t.ok(
        toSecond.length > 0 && toSecond.length < count,
        `${toSecond.length} of ${count} have another backend`,
      );
      t.equal((await gw.api.put("dnats/tcp-8090", dnat("tcp", 8090, left))).status, 200);
      await expectListed(t, gw, "tcp", 8090, left);
      t.same((await ofWeb()).filter(toSecondPod), []);
      const going: HostStream[] = [];
      for (const stream of streams) if (await stream.advance(50_000, 500)) going.push(stream);
      t.equal(going.length, count - toSecond.length, "the flows of the one that stays go on");
      for (const stream of going) t.ok((await stream.close()).isIntact);
      await Promise.all(streams.filter((one) => !going.includes(one)).map((stream) => stream.close()));
      t.same([...(await answers(outside, web, 6)).keys()], ["pod1"]);

      t.equal((await gw.api.put("dnats/tcp-8090", dnat("tcp", 8090, []))).status, 200);
      await expectListed(t, gw, "tcp", 8090, []);
      t.same(await ofWeb(), []);
      t.ok(await outside.hearsNothing(web));
      t.equal((await gw.api.put("dnats/tcp-8090", dnat("tcp", 8090, three))).status, 200);
      t.equal((await answers(outside, web, 3)).get("nobody"), undefined);
      await gw.expectConverged(t);
    });

    await t.test("a FIP of the same EIP comes first", async (t) => {
      const fip = { eip: "eip-10", internalIp: "10.0.1.5" };
      t.equal((await gw.api.put("fips/fip", fip)).status, 200);
      t.match((await gw.api.get("dnats/tcp-8090")).body, {
        status: { conditions: [{}, { status: "True" }, { reason: "Shadowed" }] },
      });
      t.match(await outside.ask(tcp(eipAddress(10))), { answeredBy: "pod1" });
      t.ok(await outside.hearsNothing(web), "its port 8090 is that of the pod, which serves none");
      t.equal((await gw.api.delete("fips/fip")).status, 204);
      t.equal((await answers(outside, web, 3)).get("nobody"), undefined);
    });

    await t.test("damage by hand is repaired, a restart plans nothing", async (t) => {
      const before = await listed(gw);
      const chain = "ip kube-ovn dnat-203.0.113.10-tcp-8090";
      for (const harm of [
        "flush table ip kube-ovn",
        "delete table ip kube-ovn",
        "delete element ip kube-ovn dnat_backends { 203.0.113.10 . tcp . 8090 }",
        `insert rule ${chain} drop`,
        "insert rule ip kube-ovn prerouting accept",
      ]) {
        await nft(gw, harm);
        t.same((await gw.api.reconcile()).failed, []);
        t.equal(sorted(await listed(gw)), sorted(before), harm);
        t.equal((await answers(outside, web, 2)).get("nobody"), undefined);
      }
      await gw.expectConverged(t);
      t.same((await gw.api.status()).degraded, []);
      await gw.agent.stop();
      const watch = await gw.watch();
      await gw.startAgent().whenReady();
      t.same(await watch.stop(), [], "a restart writes nothing");
      await gw.expectConverged(t);
    });

    await t.test("rules of other programs: what stops the packets of the table is named", async (t) => {
      const at = async (priority: number, rule: string) => {
        await nft(
          gw,
          `add table ip other; add chain ip other pre { type nat hook prerouting priority ${priority}; }; add rule ip other pre ${rule}`,
        );
        await gw.api.reconcile();
        const { body } = await gw.api.get("dnats/tcp-8090");
        await nft(gw, "delete table ip other");
        await gw.api.reconcile();
        t.match((await gw.api.get("dnats/tcp-8090")).body, { status: { ready: true } });
        return body;
      };
      const stolen = "ip daddr 203.0.113.10 tcp dport 8090 dnat to 10.0.9.9";
      // Between iptables and the table: only the table's objects notice.
      t.match(await at(-100, stolen), { status: { conditions: [{}, {}, { reason: "ForeignRule" }] } });
      t.match(await at(-90, stolen), { status: { ready: true } }, "behind the table");
    });

    await t.test("rules with -m statistic become the table, without a gap", async (t) => {
      await gw.agent.stop();
      await nft(gw, "delete table ip kube-ovn");
      await gw.restore("*nat", ":SHARED_DNAT - [0:0]", ...statistic, "COMMIT");
      const stream = await outside.open(web);
      t.ok(await stream.advance(5));
      gw.startAgent();
      let isReady = false;
      const ready = gw.agent.whenReady().then(() => {
        isReady = true;
      });
      let asked = 0;
      while (!isReady || asked < 20) {
        const answer = await pod1.ask(web);
        if (!("answeredBy" in answer)) t.fail(`new flow ${asked} was not answered: ${answer.silence}`);
        asked++;
      }
      await ready;
      await expectListed(t, gw, "tcp", 8090, three);
      t.same(
        (await gw.rules("nat")).filter((rule) => rule.startsWith("-A SHARED_DNAT")),
        [],
      );
      t.ok(await stream.advance(50_000), "the live flow goes on");
      t.ok((await stream.close()).isIntact);
      await gw.expectConverged(t);
    });

    await t.test("another dataplane leaves nothing of the table, and comes back to it", async (t) => {
      const stream = await outside.open(web);
      t.ok(await stream.advance(5));
      await gw.agent.stop();
      await gw.startAgent({ NATGW_DATAPLANE: "nftables" }).whenReady();
      await gw.api.reconcile();
      t.notMatch(await gw.lab.exec("gw", ["nft", "list", "tables"]), "kube-ovn");
      t.ok(await stream.advance(50_000));
      t.equal((await answers(outside, web, 4)).get("nobody"), undefined);
      await gw.agent.stop();
      await gw.startAgent().whenReady();
      await gw.api.reconcile();
      await expectListed(t, gw, "tcp", 8090, three);
      t.notMatch(await gw.lab.exec("gw", ["nft", "list", "tables"]), /natgw$/m);
      t.ok(await stream.advance(50_000));
      t.ok((await stream.close()).isIntact);
      await gw.expectConverged(t);
    });
  });
}

/** The lines of a listing; the kernel lists elements in any order. */
function sorted(text: string): string {
  return text
    .replaceAll(/elements = \{[^}]*\}/g, (list) =>
      list
        .split(/[{},]\s*/)
        .sort()
        .join(),
    )
    .split("\n")
    .sort()
    .join("\n");
}
