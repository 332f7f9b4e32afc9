/** What happens to live connections when the set changes. */
import t from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { eip, gateway, outsideTcp, outsideUdp, tcp, udp } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [
    { name: "one", eip: "eip-10", internalIp: "10.0.1.5" },
    { name: "two", eip: "eip-11", internalIp: "10.0.1.6" },
  ],
};

/** True if a stream makes no progress while another one does. This needs no clock. */
async function standsStill(stream: HostStream, beside: HostStream): Promise<boolean> {
  // Packets that were under way when the flow ended may still arrive.
  await beside.advance(50_000);
  const before = await stream.progress();
  await beside.advance(100_000);
  return (await stream.progress()).received === before.received;
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];

    await t.test("deleting a FIP ends its flows in both directions, and no others", async (t) => {
      t.equal((await gw.api.putSet(set)).status, 200);
      const ending = [
        await outside.open(tcp("203.0.113.10")),
        await pod1.open(outsideTcp),
        await outside.open(udp("203.0.113.10")),
        await pod1.open(outsideUdp),
      ];
      const staying = [await outside.open(tcp("203.0.113.11")), await pod2.open(outsideTcp)] as const;
      for (const stream of [...ending, ...staying]) t.ok(await stream.advance(5));

      const reply = await gw.api.delete("fips/one");
      t.equal(reply.status, 204);
      t.same(await gw.flows("203.0.113.10", "10.0.1.5"), [], "no entry translates between the two any more");
      for (const stream of ending) t.ok(await standsStill(stream, staying[0]), "its flow has ended");
      for (const stream of staying) {
        t.ok(await stream.advance(50_000), "the other FIP's goes on");
        t.ok((await stream.close()).isIntact, "without losing a byte");
      }
      await Promise.all(ending.map((stream) => stream.close()));
      await gw.expectConverged(t);
    });

    await t.test("retargeting a FIP moves traffic at once", async (t) => {
      const old = await outside.open(tcp("203.0.113.11"));
      t.ok(await old.advance(5_000));
      t.equal((await gw.api.put("fips/two", { eip: "eip-11", internalIp: "10.0.1.5" })).status, 200);
      t.match(await outside.ask(tcp("203.0.113.11")), { answeredBy: "pod1" });
      t.match(await outside.ask(udp("203.0.113.11")), { answeredBy: "pod1" });
      t.match(await pod1.ask(outsideTcp), { seenAs: "203.0.113.11" });
      const beside = await outside.open(tcp("203.0.113.11"));
      t.ok(await standsStill(old, beside), "the old target's flow has ended");
      await Promise.all([old.close(), beside.close()]);
      await gw.expectConverged(t);
    });

    await t.test("a UDP flow that began before its FIP works once that is Ready", async (t) => {
      const early = await pod2.open(outsideUdp);
      t.notOk(await early.advance(1, 500), "nobody answers a bare pod");
      t.equal((await gw.api.put("fips/one", { eip: "eip-10", internalIp: "10.0.1.6" })).status, 200);
      t.ok(await early.advance(10), "the same flow is answered");
      t.equal((await early.close()).answer?.seenAs, "203.0.113.10");
      await gw.expectConverged(t);
    });

    await t.test("a pod's SNAT flows stay when it gets a FIP", async (t) => {
      await gw.api.delete("fips/one");
      t.equal((await gw.api.put("snats/all", { eip: "eip-12", internalCIDR: "10.0.1.0/24" })).status, 200);
      const stream = await pod2.open(outsideTcp);
      t.ok(await stream.advance(20_000));
      t.equal((await stream.progress()).answer?.seenAs, "203.0.113.12");
      t.equal((await gw.api.put("fips/one", { eip: "eip-10", internalIp: "10.0.1.6" })).status, 200);
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.10" }, "new flows go by the FIP");
      t.ok(await stream.advance(20_000), "the old one goes on");
      await gw.expectConverged(t);
      t.ok(await stream.advance(20_000), "through later passes too");
      t.ok((await stream.close()).isIntact);
    });

    await t.test("deleting a DNAT and a SNAT ends their flows", async (t) => {
      await gw.api.delete("fips/one");
      const web = {
        eip: "eip-10",
        protocol: "tcp",
        externalPort: 8080,
        internalIp: "10.0.1.6",
        internalPort: 80,
      };
      t.equal((await gw.api.put("dnats/web", web)).status, 200);
      const beside = await outside.open(tcp("203.0.113.11"));
      const inward = await outside.open(tcp("203.0.113.10", 8080));
      const outward = await pod2.open(outsideTcp);
      for (const stream of [inward, outward]) t.ok(await stream.advance(5_000));
      await gw.api.delete("dnats/web");
      t.same(await gw.flows("203.0.113.10"), []);
      t.ok(await outward.advance(5_000), "the DNAT's end leaves the SNAT alone");
      await gw.api.delete("snats/all");
      t.same(await gw.flows("203.0.113.12"), []);
      for (const stream of [inward, outward]) t.ok(await standsStill(stream, beside));
      await Promise.all([beside, inward, outward].map((stream) => stream.close()));
      await gw.expectConverged(t);
    });
  });
}
