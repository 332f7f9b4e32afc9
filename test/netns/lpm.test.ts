/** Which SNAT serves a client: the longest prefix, and within a pool always the same EIP. */
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { eip, gateway, outsideTcp, outsideUdp } from "../support/targets.ts";

/** By prefix length. Each contains the next one. */
const snats = {
  32: { name: "s32", eip: "eip-32", internalCIDR: "10.0.1.5/32" },
  24: { name: "s24", eip: "eip-24", internalCIDR: "10.0.1.0/24" },
  20: { name: "s20", eip: "eip-20", internalCIDR: "10.0.0.0/20" },
  16: { name: "s16", eip: "eip-16", internalCIDR: "10.0.0.0/16" },
} as const;
type Length = keyof typeof snats;

/** Clients on pod 1, and the SNATs that cover each, best first. */
const clients: readonly (readonly [address: string, lengths: readonly Length[]])[] = [
  ["10.0.1.5", [32, 24, 20, 16]],
  ["10.0.1.99", [24, 20, 16]],
  ["10.0.2.5", [20, 16]],
  ["10.0.77.5", [16]],
];

const orders: readonly (readonly Length[])[] = [
  [32, 24, 20, 16],
  [16, 20, 24, 32],
  [24, 16, 32, 20],
  [20, 32, 16, 24],
];

const poolClients = Array.from({ length: 16 }, (_, index) => `10.0.1.${100 + index}`);

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const pod1 = gw.host("pod1");
    const own = [...clients.slice(1).map(([address]) => address), ...poolClients];
    await gw.lab.ip("pod1", ...own.map((address) => `address add ${address}/32 dev eth0`));

    let generation = 0;
    const bareSet = (generation: number) => ({
      generation,
      gateway,
      eips: [32, 24, 20, 16, 40, 41].map(eip),
      // The VPC's own router, played by pod 1.
      routes: [{ name: "vpc", destination: "10.0.0.0/16", via: "10.0.1.5" }],
    });

    const expectBest = async (t: Test, order: readonly Length[], gone: ReadonlySet<Length>) => {
      for (const [from, lengths] of clients) {
        const best = lengths.find((length) => !gone.has(length));
        if (best === undefined) continue;
        const words = `put in order ${order}, less ${[...gone]}: ${from} leaves by ${best}`;
        t.match(await pod1.ask({ ...outsideTcp, from }), { seenAs: `203.0.113.${best}` }, words);
      }
    };

    await t.test("the longest prefix wins, in whatever order SNATs are added and removed", async (t) => {
      for (const order of orders) {
        t.equal((await gw.api.putSet(bareSet(++generation))).status, 200);
        for (const length of order) {
          const { name, ...spec } = snats[length];
          t.equal((await gw.api.put(`snats/${name}`, spec)).status, 200);
        }
        const gone = new Set<Length>();
        await expectBest(t, order, gone);
        for (const leaving of order.slice(0, 3)) {
          gone.add(leaving);
          await gw.api.delete(`snats/${snats[leaving].name}`);
          await expectBest(t, order, gone);
        }
      }
      await gw.expectConverged(t);
    });

    await t.test("also in any order within one set", async (t) => {
      for (const order of orders) {
        t.equal((await gw.api.putSet(bareSet(++generation))).status, 200);
        const set = { ...bareSet(++generation), snats: order.map((length) => snats[length]) };
        t.equal((await gw.api.putSet(set)).status, 200);
        await expectBest(t, order, new Set());
      }
      await gw.expectConverged(t);
    });

    await t.test("two SNATs of one CIDR share its clients, each always by the same EIP", async (t) => {
      const members = [40, 41].map((lastByte) => ({
        name: `pool-${lastByte}`,
        eip: `eip-${lastByte}`,
        internalCIDR: "10.0.1.0/24",
      }));
      const reply = await gw.api.putSet({ ...bareSet(++generation), snats: members });
      t.equal(reply.status, 200);
      t.same(reply.body.notReady, []);
      const clientsByEip: Record<string, number> = {};
      for (const from of poolClients) {
        const seen = {
          ...(await pod1.flood({ ...outsideTcp, from }, 6)),
          ...(await pod1.flood({ ...outsideUdp, from }, 6)),
        };
        t.equal(Object.keys(seen).length, 1, `${from} leaves by one: ${Object.keys(seen)}`);
        for (const address of Object.keys(seen)) clientsByEip[address] = (clientsByEip[address] ?? 0) + 1;
      }
      t.same(clientsByEip, { "203.0.113.40": 8, "203.0.113.41": 8 });
      await gw.expectConverged(t);
    });
  });
}
