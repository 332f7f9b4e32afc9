/**
 * Three hundred objects of each kind: as one set, and as single writes of many clients. Times are printed, not
 * asserted.
 */
import t from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { gateway, tcp } from "../support/targets.ts";

const count = 300;
const writers = 8;
const numbers = Array.from({ length: count }, (_, index) => index + 1);

const eipOf = (number: number) => `198.18.${number >> 8}.${number & 255}`;
const podOf = (number: number) => `10.0.${8 + (number >> 8)}.${number & 255}`;
const eips = numbers.map((number) => ({ name: `eip-${number}`, address: `${eipOf(number)}/16` }));
const fips = numbers.map((number) => ({
  name: `fip-${number}`,
  eip: `eip-${number}`,
  internalIp: podOf(number),
}));
const routes = [{ name: "vpc", destination: "10.0.0.0/16", via: "10.0.1.5" }];

/** The first, the last and some between. */
const sample = [1, 77, 255, 256, count];

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const outside = gw.host("outside");
    await gw.lab.ip("outside", "route add 198.18.0.0/16 dev eth0");
    await gw.lab.ip("pod1", ...sample.map((number) => `address add ${podOf(number)}/32 dev eth0`));
    const expectTraffic = async () => {
      for (const number of sample) t.match(await outside.ask(tcp(eipOf(number))), { answeredBy: "pod1" });
    };

    await t.test(`${count} EIPs and FIPs in one PUT`, async (t) => {
      const start = performance.now();
      const reply = await gw.api.putSet({ generation: 1, gateway, eips, fips, routes }, "?wait=60s");
      t.comment(
        `${dataplane}: ${count} EIPs and FIPs in one PUT took ${Math.round(performance.now() - start)} ms`,
      );
      t.equal(reply.status, 200);
      t.match(reply.body, { ready: 2 * count + 1, notReadyTotal: 0 });
      await expectTraffic();
      await gw.expectConverged(t);
    });

    await t.test(`${count} FIPs as single PUTs of ${writers} writers`, async (t) => {
      t.equal((await gw.api.putSet({ generation: 2, gateway, eips, routes }, "?wait=60s")).status, 200);
      const queue = [...fips];
      const statuses = new Map<number, number>();
      const start = performance.now();
      const writer = async () => {
        for (let fip = queue.shift(); fip !== undefined; fip = queue.shift()) {
          const { status } = await gw.api.put(`fips/${fip.name}`, fip, "?wait=60s");
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
      };
      await Promise.all(Array.from({ length: writers }, writer));
      t.comment(`${dataplane}: ${count} single PUTs took ${Math.round(performance.now() - start)} ms`);
      t.same([...statuses], [[200, count]]);
      await expectTraffic();
      await gw.expectConverged(t);
    });

    await t.test("everything is deleted again", async (t) => {
      t.equal((await gw.api.putSet({ generation: 3 }, "?wait=60s")).status, 200);
      t.same(await gw.addresses("net1"), ["203.0.113.254/24"]);
      t.same(
        (await gw.translations()).filter((rule) => rule.includes("198.18.")),
        [],
      );
      await gw.expectConverged(t);
    });
  });
}
