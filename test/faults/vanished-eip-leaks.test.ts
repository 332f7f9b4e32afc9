/**
 * The fault: an EIP that the controller no longer has stays on the gateway.
 *
 * Seen in the field: a user removed the finalizer of an EIP to get rid of it. The object was gone, so nothing told the
 * gateway: the address stayed on the interface and answered ARP, its rules kept translating, its flows lived on. The IP
 * counted as free, was assigned to another gateway, and two gateways fought for it. No list showed it.
 *
 * In this test only the desired set counts: what it does not contain is removed, at once and completely. Orphans are
 * listed and can be released, and are never removed otherwise. A controller whose EIPs must not outlive it uses leases.
 */
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import type { ObjectReply, Problem } from "../support/api-client.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { labAddresses } from "../support/lab.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway, outsideTcp, outsideUdp, tcp, udp, webDnat } from "../support/targets.ts";
import { holdsFip, readFlows, readKernel } from "./kernel-reading.ts";
import { routeBySecondGateway, startSecondGateway } from "./second-gateway.ts";

interface Inventory {
  readonly addresses: readonly {
    readonly ip: string;
    readonly role: string;
    readonly users: readonly string[];
  }[];
  readonly subnets: readonly { readonly cidr: string; readonly used: number; readonly free: number }[];
}

const kept = { eips: [eip(12)], fips: [{ name: "kept", eip: "eip-12", internalIp: "10.0.1.6" }] };
const snat = { name: "snat", eip: "eip-11", internalCIDR: "10.0.1.0/24" };
const full = {
  gateway,
  eips: [eip(10), eip(11), ...kept.eips],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }, ...kept.fips],
  dnats: [webDnat],
  snats: [snat],
};

// The test mostly waits: for replies on the wire, for leases, and for what is sent again.
t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_ARP_PROBE: "200ms" });
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    const inventory = async () => (await gw.api.call<Inventory>("GET", "/v1/inventory")).body;
    const roles = async () =>
      Object.fromEntries((await inventory()).addresses.map(({ ip, role }) => [ip.split(".")[3], role]));
    const leftOf = async (ip: string) => ({
      rules: linesNaming((await gw.byHand.read()).lines, ip),
      addresses: (await gw.addresses("net1")).filter((address) => address === `${ip}/24`),
      flows: (await readFlows(gw)).filter((flow) => flow.dnatOf === ip || flow.snatTo === ip),
    });
    const expectNothingOf = async (t: Test, lastByte: number) => {
      const ip = eipAddress(lastByte);
      const { rules, addresses, flows } = await leftOf(ip);
      t.same(rules, [], `no rule names ${ip}`);
      t.same(addresses, [], `${ip} is not on the interface`);
      t.same(flows, [], `no flow translates to or from ${ip}`);
    };
    /** The end of a lease is reported at once. A pass removes what it leaves, one after the other. */
    const untilGone = (lastByte: number) =>
      until(`all of ${eipAddress(lastByte)} to go`, async () =>
        Object.values(await leftOf(eipAddress(lastByte))).every(({ length }) => length === 0),
      );

    await t.test("a full set without it removes it completely in one pass", async (t) => {
      t.equal((await gw.api.putSet({ generation: 1, ...full })).status, 200);
      const ending = [
        await outside.open(tcp("203.0.113.10")),
        await outside.open(udp("203.0.113.10")),
        await outside.open(tcp("203.0.113.11", 8080)),
        await pod1.open(outsideTcp),
        await pod1.open(tcp("203.0.113.11", 8080)),
        await pod2.open(tcp("203.0.113.10")),
      ];
      const staying = [await outside.open(tcp("203.0.113.12")), await pod2.open(outsideTcp)];
      for (const stream of [...ending, ...staying]) t.ok(await stream.advance(5));
      t.same(await roles(), { 1: "gateway", 10: "eip", 11: "eip", 12: "eip", 254: "self" });
      t.match((await inventory()).subnets, [{ cidr: "203.0.113.0/24", used: 5, free: 249 }]);

      // The users of the second EIP are still desired: they must not keep it.
      const passesBefore = passesThatWrote(gw);
      const orphaned = { dnats: [webDnat], snats: [snat] };
      const reply = await gw.api.putSet({ generation: 2, gateway, ...kept, ...orphaned });
      t.match(reply.body, { ready: 2, notReadyTotal: 2 });
      t.same(reply.body.notReady.map(reasonOf), ["EipNotFound", "EipNotFound"]);
      for (const lastByte of [10, 11]) await expectNothingOf(t, lastByte);
      t.equal(passesThatWrote(gw), passesBefore + 1, "one pass did it all");
      t.same(await roles(), { 1: "gateway", 12: "eip", 254: "self" });
      t.match((await inventory()).subnets, [{ cidr: "203.0.113.0/24", used: 3, free: 251 }]);
      for (const stream of staying) t.ok(await stream.advance(20_000), "the others' flows go on");
      for (const stream of staying) t.ok((await stream.close()).isIntact, "without losing a byte");
      await Promise.all(ending.map((stream) => stream.close()));
      await gw.expectConverged(t);
    });

    await t.test("the agent is killed during the removal", async (t) => {
      for (const [generation, pauseMs] of [
        [3, 0],
        [5, 40],
        [7, 120],
      ] as const) {
        t.equal((await gw.api.putSet({ generation, ...full })).status, 200);
        const streams = [
          await outside.open(udp("203.0.113.10")),
          await pod1.open(outsideUdp),
          await outside.open(tcp("203.0.113.11", 8080)),
        ];
        for (const stream of streams) t.ok(await stream.advance(5));
        t.equal((await gw.api.putSet({ generation: generation + 1, gateway, ...kept }, "")).status, 202);
        await delay(pauseMs);
        await gw.agent.kill();
        await gw.startAgent().whenReady();
        for (const lastByte of [10, 11]) await expectNothingOf(t, lastByte);
        await Promise.all(streams.map((stream) => stream.close()));
      }
      await gw.expectConverged(t);
    });

    await t.test("another gateway takes the IP at once", async (t) => {
      const second = await startSecondGateway(t, gw);
      await routeBySecondGateway(gw, "pod2", "10.0.1.99");
      t.equal((await second.api.putSet({ generation: 1, gateway })).status, 200);
      t.equal(
        reasonOf((await second.api.put("eips/eip-12", eip(12))).body),
        "AddressConflict",
        "it does look",
      );
      await second.api.delete("eips/eip-12");
      t.equal((await gw.api.putSet({ generation: 10, ...full })).status, 200);
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });

      t.equal((await gw.api.putSet({ generation: 11, gateway, ...kept })).status, 200);
      t.equal((await second.api.put("eips/eip-10", eip(10))).status, 200, "nobody answers for it any more");
      const fip = { eip: "eip-10", internalIp: "10.0.1.99" };
      t.equal((await second.api.put("fips/fip", fip)).status, 200);
      t.match(
        await outside.ask(tcp("203.0.113.10")),
        { answeredBy: "pod2" },
        "the outside knows where it went",
      );

      t.equal(
        reasonOf((await gw.api.put("eips/eip-10", eip(10))).body),
        "AddressConflict",
        "no way back by force",
      );
      t.equal((await gw.api.delete("eips/eip-10")).status, 204);
      await expectNothingOf(t, 10);
      await gw.expectConverged(t);
    });

    await t.test("orphans are listed, released on request, and never removed otherwise", async (t) => {
      await gw.byHand.addForeign("203.0.113.77");
      await gw.lab.ip("gw", "address add 203.0.113.77/24 dev net1", "address add 203.0.113.78/24 dev net1");
      await gw.api.reconcile();
      t.equal((await gw.api.putSet({ generation: 12, gateway, ...kept })).status, 200);
      await gw.agent.kill();
      await gw.startAgent().whenReady();
      t.match(await roles(), { 12: "eip", 77: "orphan", 78: "orphan", 254: "self" });
      t.match((await inventory()).subnets, [{ used: 5 }], "and counted");
      const talker = await outside.open(udp("203.0.113.77"));
      await until("a flow on the orphan", async () => (await gw.flows("203.0.113.77")).length > 0);
      await talker.close();

      const release = (ip: string) => gw.api.call<Problem>("POST", `/v1/inventory/${ip}/release`);
      const refused = { [eipAddress(12)]: [409, "conflict"], [labAddresses.external]: [409, "in-use"] };
      const absent = { [labAddresses.outside]: [409, "in-use"], [eipAddress(99)]: [404, "not-found"] };
      for (const [ip, [status, code]] of Object.entries({ ...refused, ...absent })) {
        const { status: answered, body } = await release(ip);
        t.same([answered, body.code], [status, code], `release of ${ip}`);
      }
      const { status, body } = await release("203.0.113.77");
      t.equal(status, 200);
      t.match(body, { changes: [{ action: "remove", subsystem: "address" }] });
      t.match(body, { foreignRules: [/203\.0\.113\.77/] }, "a foreign rule is listed");
      t.same(await gw.flows("203.0.113.77"), [], "its flows are gone");
      t.same(await gw.addresses("net1"), ["203.0.113.254/24", "203.0.113.12/24", "203.0.113.78/24"]);
      t.equal(
        linesNaming((await gw.byHand.read()).lines, "203.0.113.77").length,
        1,
        "a foreign rule is left",
      );
      t.equal((await release("203.0.113.77")).status, 404, "once is enough");
      t.match(await outside.ask(tcp("203.0.113.12")), { answeredBy: "pod2" });
      await gw.expectConverged(t);
    });

    await t.test("a lease that is not renewed expires in time, with all its objects", async (t) => {
      // Longer than a pass takes on a busy machine.
      const longLease = 15;
      const leased = (lastByte: number, leaseSeconds: number) => ({ ...eip(lastByte), leaseSeconds });
      const fip = { name: "leased", eip: "eip-20", internalIp: "10.0.1.5" };
      const put = (leaseSeconds: number) => {
        const eips = [leased(20, leaseSeconds), eip(21), leased(22, longLease)];
        return gw.api.call<unknown>("POST", "/v1/batch?wait=20s", { upsert: { eips, fips: [fip] } });
      };
      /**
       * Reads the kernel until the FIP is gone. Everything that is gone then was removed before the reading ended.
       */
      const expectEnd = async (t: Test, putAtMs: number, leaseSeconds: number) => {
        const goneAtMs = await until(
          "the leased EIP to go",
          async () => {
            // Each reading starts processes.
            await delay(100);
            return !holdsFip(await readKernel(gw), "203.0.113.20", "10.0.1.5") && performance.now();
          },
          60_000,
        );
        t.ok(goneAtMs - putAtMs >= leaseSeconds * 1000, `not before its ${leaseSeconds} s were over`);
        await until("its status to say so", async () => (await reasonAt("eips/eip-20")) === "LeaseExpired");
        t.equal(await reasonAt("fips/leased"), "LeaseExpired");
        await untilGone(20);
        await expectNothingOf(t, 20);
        t.equal(await reasonAt("eips/eip-21"), "Ready", "without a lease nothing ends");
      };
      const reasonAt = async (path: string) => reasonOf((await gw.api.get(path)).body);

      let putAtMs = performance.now();
      t.equal((await put(10)).status, 200);
      const stream = await outside.open(tcp("203.0.113.20"));
      const renewing = new AbortController();
      const renewals = renewUntil(gw, "eip-22", renewing.signal);
      await expectEnd(t, putAtMs, 10);
      await stream.close();
      await delay(Math.max(0, putAtMs + longLease * 1_000 + 500 - performance.now()));
      t.equal(await reasonAt("eips/eip-22"), "Ready", "renewed, it lives beyond its first end");
      renewing.abort();
      t.same(await renewals, [200]);

      putAtMs = performance.now();
      t.equal((await put(12)).status, 200, "a write revives it");
      t.match(await outside.ask(tcp("203.0.113.20")), { answeredBy: "pod1" });
      await gw.agent.kill();
      await gw.startAgent().whenReady();
      await expectEnd(t, putAtMs, 12);
      await until(
        "the other, not renewed any more",
        async () => (await reasonAt("eips/eip-22")) === "LeaseExpired",
      );

      putAtMs = performance.now();
      // A busy machine may need longer than the lease lasts.
      t.ok([200, 202].includes((await put(1)).status));
      await gw.agent.kill();
      await delay(Math.max(0, putAtMs + longLease * 1_000 + 500 - performance.now()));
      await gw.lab.renewGateway();
      const watch = await gw.watch();
      await gw.startAgent().whenReady();
      const seen = await watch.stop();
      t.ok(
        seen.some((line) => line.includes("203.0.113.21")),
        "what has no lease is put into a new namespace",
      );
      t.same(
        seen.filter((line) => line.includes("203.0.113.20")),
        [],
        "what ended meanwhile never is",
      );
      await expectNothingOf(t, 20);
      await gw.expectConverged(t);
    });

    await t.test("renewing an expired lease puts it in force again, repeatedly", async (t) => {
      const fips = [{ name: "renewed", eip: "eip-23", internalIp: "10.0.1.5" }];
      const upsert = { eips: [{ ...eip(23), leaseSeconds: 60 }], fips };
      t.equal((await gw.api.call("POST", "/v1/batch?wait=20s", { upsert })).status, 200);
      await gw.api.put("eips/eip-23", { ...eip(23), leaseSeconds: 2 }, "");
      const reasons = async () => {
        const replies = ["eips/eip-23", "fips/renewed"].map((path) => gw.api.get(path));
        return (await Promise.all(replies)).map(({ body }) => reasonOf(body)).join();
      };
      const untilBothAre = (reason: string) =>
        until(`both to be ${reason}`, async () => (await reasons()) === `${reason},${reason}`, 30_000);
      for (let time = 1; time <= 3; time++) {
        await untilBothAre("LeaseExpired");
        await untilGone(23);
        await expectNothingOf(t, 23);
        // A full pass while the lease has expired must not make the removal permanent.
        await gw.api.reconcile();
        const renewing = new AbortController();
        const renewals = renewUntil(gw, "eip-23", renewing.signal);
        await untilBothAre("Ready");
        t.match(await outside.ask(tcp("203.0.113.23")), { answeredBy: "pod1" });
        t.ok(holdsFip(await readKernel(gw), "203.0.113.23", "10.0.1.5"));
        renewing.abort();
        t.same(await renewals, [200]);
      }
      t.equal((await gw.api.delete("eips/eip-23", "?wait=20s&cascade=true")).status, 204);
      await gw.expectConverged(t);
    });
  });
}

function linesNaming(lines: readonly string[], ip: string): readonly string[] {
  return lines.filter((line) => line.split(/[ /]/).includes(ip));
}

/**
 * Renews twice per second.
 * @returns the statuses of the answers
 */
async function renewUntil(gw: Gateway, name: string, signal: AbortSignal): Promise<readonly number[]> {
  const statuses = new Set<number>();
  while (!signal.aborted) {
    statuses.add((await gw.api.call("POST", "/v1/leases/renew", { eips: [name] })).status);
    await delay(500);
  }
  return [...statuses];
}

function passesThatWrote(gw: Gateway): number {
  return gw.agent.log.split("\n").filter((line) => line.includes("pass changed the kernel")).length;
}

function reasonOf({ status }: ObjectReply): string | undefined {
  return status.conditions.find(({ type }) => type === "Ready")?.reason;
}
