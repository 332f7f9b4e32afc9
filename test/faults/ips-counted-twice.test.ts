/**
 * The fault: IPs are counted twice, and conflicts stay undetected.
 *
 * Seen in the field: a subnet reported no free IPs, because each EIP was counted once as an EIP and once as an address
 * in use. Elsewhere an EIP was the gateway's own address. Programming it did no visible harm, until it was deleted and
 * cut the gateway off the network. EIPs were assigned twice, or with an IP that another machine on the network had held
 * for a long time.
 *
 * In this test every IP that an EIP must not have is requested, in one set and one by one. Each is refused or marked
 * with the reason, the others work as if it did not exist, every IP is counted once, and the gateway's own address
 * stays.
 */
import t, { type Test } from "tap";
import type { ObjectReply, Problem } from "../support/api-client.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { labAddresses } from "../support/lab.ts";
import { readLink } from "../support/links.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway, outsideTcp, tcp, udp } from "../support/targets.ts";

interface Inventory {
  readonly addresses: readonly {
    readonly ip: string;
    readonly role: string;
    readonly users: readonly string[];
  }[];
  readonly subnets: readonly Readonly<Record<string, unknown>>[];
}

/** An IP that the outside host holds besides its own. */
const neighbour = eipAddress(66);

/** Addresses that no EIP may have, by name. All but the last are known without a probe. */
const forbidden = {
  own: `${labAddresses.external}/24`,
  "own-32": `${labAddresses.external}/32`,
  vpc: `${labAddresses.vpc}/24`,
  network: "203.0.113.0/24",
  broadcast: "203.0.113.255/24",
  gateway: `${labAddresses.outside}/24`,
  twin: eip(10).address,
  "twin-32": "203.0.113.10/32",
};
const good = [
  { ...eip(10), internalIp: "10.0.1.5" },
  { ...eip(11), internalIp: "10.0.1.6" },
  // A narrower network within the same: its addresses are not counted in both.
  { name: "eip-140", address: "203.0.113.140/25", internalIp: "10.0.1.5" },
];
const bad = [...Object.entries(forbidden), ["neighbour", `${neighbour}/24`] as const];

/** Every EIP has a FIP, so that translation of an EIP that must not be programmed is detected. */
const set = {
  gateway,
  eips: [
    ...good.map(({ name, address }) => ({ name, address })),
    ...bad.map(([name, address]) => ({ name, address })),
  ],
  fips: [
    ...good.map(({ name, internalIp }) => ({ name: `fip-of-${name}`, eip: name, internalIp })),
    ...bad.map(([name]) => ({ name: `fip-of-${name}`, eip: name, internalIp: "10.0.1.6" })),
  ],
};
const goodIds = good.flatMap(({ name }) => [`eips/${name}`, `fips/fip-of-${name}`]);

// The test mostly waits: for replies on the wire, for leases, and for what is sent again.
t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_ARP_PROBE: "200ms" });
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    await gw.lab.ip("outside", `address add ${neighbour}/24 dev eth0`);
    let watch = await gw.watch();
    /** Ends a watch and starts another: the gateway's own address was never touched. */
    const expectOwnUntouched = async (t: Test) => {
      const seen = await watch.stop();
      watch = await gw.watch();
      t.same(
        seen.filter((line) => line.includes(`inet ${labAddresses.external}`)),
        [],
        "nobody wrote to the gateway's own address",
      );
      t.equal((await gw.addresses("net1"))[0], `${labAddresses.external}/24`);
    };
    const conditionOf = async (path: string, type: string) =>
      conditionIn((await gw.api.get(path)).body, type);
    const inventory = async () => (await gw.api.call<Inventory>("GET", "/v1/inventory")).body;

    const expectGoodOnly = async (t: Test) => {
      for (const id of goodIds) t.match(await conditionOf(id, "Ready"), { status: "True" }, `${id} is Ready`);
      for (const name of Object.keys(forbidden)) {
        t.match(await conditionOf(`eips/${name}`, "Accepted"), { status: "False", reason: "Conflict" }, name);
        t.match(await conditionOf(`fips/fip-of-${name}`, "Ready"), {
          status: "False",
          reason: "EipNotReady",
        });
      }
      const contested = await conditionOf("eips/neighbour", "Ready");
      t.match(contested, { status: "False", reason: "AddressConflict" });
      t.match(contested?.message, await macOf(gw), "it says who answered");
      const ips = [eipAddress(10), eipAddress(11), eipAddress(140)];
      const { inward } = await gw.byHand.read();
      t.same(inward.map(([ip]) => ip).toSorted(), ips, "FIPs translate for the good alone");
      t.same((await gw.addresses("net1")).toSorted(), [
        "203.0.113.10/24",
        "203.0.113.11/24",
        "203.0.113.140/25",
        "203.0.113.254/24",
      ]);
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
      t.match(await outside.ask(tcp("203.0.113.11")), { answeredBy: "pod2" });
      t.match(await outside.ask(tcp("203.0.113.140")), { answeredBy: "pod1" });
      t.match(await pod1.ask(outsideTcp), { seenAs: "203.0.113.10" }, "the older FIP leads out");
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.11" });
    };

    await t.test("a full set: clashing objects are marked, all others work", async (t) => {
      const reply = await gw.api.putSet({ generation: 1, ...set });
      t.equal(reply.status, 202, "some of it can never be Ready, and nobody waits for it");
      t.match(reply.body, { ready: goodIds.length, notReadyTotal: 2 * bad.length });
      await expectGoodOnly(t);
      await expectOwnUntouched(t);
    });

    await t.test("the inventory is a set: every IP once, however many ask for it", async (t) => {
      const { addresses, subnets } = await inventory();
      const listed = addresses.map(({ ip, role, users }) => [
        ip,
        role,
        users.filter((id) => id.startsWith("eips/")),
      ]);
      t.same(listed, [
        [labAddresses.vpc, "conflict", ["eips/vpc"]],
        ["203.0.113.0", "eip", ["eips/network"]],
        [labAddresses.outside, "conflict", ["eips/gateway"]],
        [eipAddress(10), "eip", ["eips/eip-10", "eips/twin", "eips/twin-32"]],
        [eipAddress(11), "eip", ["eips/eip-11"]],
        [neighbour, "conflict", ["eips/neighbour"]],
        [eipAddress(140), "eip", ["eips/eip-140"]],
        [labAddresses.external, "conflict", ["eips/own", "eips/own-32"]],
        ["203.0.113.255", "eip", ["eips/broadcast"]],
      ]);
      // .1, .10, .11, .66, .140 and .254. The network and the broadcast address do not count: no host can have them.
      const expected = { cidr: "203.0.113.0/24", capacity: 254, used: 6, free: 248 };
      t.same(
        subnets.filter(({ cidr }) => String(cidr).startsWith("203.")),
        [expected],
      );
    });

    await t.test("as single writes they are refused, and nothing is stored", async (t) => {
      for (const [name, address] of Object.entries(forbidden)) {
        const { status, body } = await gw.api.put(`eips/single-${name}`, { address });
        t.same([status, (body as unknown as Problem).code], [409, "conflict"], `${name}: ${address}`);
        t.equal((await gw.api.get(`eips/single-${name}`)).status, 404);
      }
      const inward = await gw.api.put("fips/inward", { eip: "eip-99", internalIp: labAddresses.vpc });
      t.same(
        [inward.status, (inward.body as unknown as Problem).code],
        [409, "conflict"],
        "no FIP leads to the gateway",
      );
      const before = (await gw.api.get("eips/eip-11")).body;
      t.equal((await gw.api.put("eips/eip-11", { address: forbidden.own })).status, 409, "nor by a change");
      t.same((await gw.api.get("eips/eip-11")).body.spec, before.spec);
      await expectOwnUntouched(t);
    });

    await t.test("a restarted agent finds the same clashes", async (t) => {
      await gw.agent.kill();
      await gw.startAgent().whenReady();
      await expectOwnUntouched(t);
      await watch.stop();
      await gw.agent.kill();
      await gw.lab.renewGateway();
      watch = await gw.watch();
      await gw.startAgent().whenReady();
      await until("the wire to be asked about all", async () => {
        const claim = await conditionOf("eips/neighbour", "Ready");
        return (
          claim?.reason === "AddressConflict" &&
          (await conditionOf("fips/fip-of-eip-140", "Ready"))?.status === "True"
        );
      });
      await expectGoodOnly(t);
      await expectOwnUntouched(t);
      await gw.expectConverged(t);
    });

    await t.test("another host takes a held EIP: the EIP is kept and is not Ready", async (t) => {
      const taken = eipAddress(11);
      const untilReady = (status: string) =>
        until(
          `the EIP's Ready to be ${status}`,
          async () => (await conditionOf("eips/eip-11", "Ready"))?.status === status,
          60_000,
        );
      const expectClaimed = async (t: Test) => {
        const claim = await conditionOf("eips/eip-11", "Ready");
        t.match(claim, { status: "False", reason: "AddressConflict", message: await macOf(gw) });
        t.match(await conditionOf("eips/eip-11", "Programmed"), { status: "True" }, "it is kept");
        t.match(await conditionOf("fips/fip-of-eip-11", "Ready"), { reason: "EipNotReady" });
        t.match(
          await conditionOf("fips/fip-of-eip-10", "Ready"),
          { status: "True" },
          "others stay as they are",
        );
        t.ok((await gw.addresses("net1")).includes(`${taken}/24`));
        const entry = (await inventory()).addresses.find(({ ip }) => ip === taken);
        t.match(entry, { role: "conflict", users: ["eips/eip-11", "fips/fip-of-eip-11"] });
        t.strictSame(await gw.api.degradedReasons(), ["AddressConflict"]);
      };
      await gw.lab.ip("outside", `address add ${taken}/24 dev eth0`);
      // An ARP request of this host for a third machine contains the sender's own address.
      await outside.hearsNothing({ ...udp(eipAddress(99)), from: taken });
      await untilReady("False");
      await expectClaimed(t);
      await gw.agent.kill();
      await gw.startAgent().whenReady();
      await untilReady("False");
      await expectClaimed(t);
      await gw.lab.ip("outside", `address delete ${taken}/24 dev eth0`);
      await untilReady("True");
      t.strictSame(await gw.api.degradedReasons(), []);
      t.match(await outside.ask(tcp(taken)), { answeredBy: "pod2" });
      await expectOwnUntouched(t);
    });

    await t.test("deleting a clashing object removes nothing else", async (t) => {
      await watch.stop();
      watch = await gw.watch();
      for (const name of ["own-32", "own", "twin", "twin-32", "gateway", "vpc"]) {
        t.equal((await gw.api.delete(`eips/${name}`, "?wait=20s&cascade=true")).status, 204);
      }
      t.equal((await gw.api.put("eips/eip-11", { address: eip(11).address })).status, 200);
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
      await expectOwnUntouched(t);
      t.match(
        (await inventory()).addresses.find(({ ip }) => ip === labAddresses.external),
        { role: "self" },
      );

      await gw.lab.ip("outside", `address delete ${neighbour}/24 dev eth0`);
      await until(
        "the neighbour's IP to be taken, now that it is free",
        async () => (await conditionOf("eips/neighbour", "Ready"))?.status === "True",
        60_000,
      );
      t.match(await outside.ask(tcp(neighbour)), { answeredBy: "pod2" });
      t.equal((await gw.api.putSet({ generation: 2 })).status, 200);
      t.same(
        await gw.addresses("net1"),
        [`${labAddresses.external}/24`],
        "the gateway's own is all that is left",
      );
      t.same(
        (await inventory()).addresses.map(({ ip, role }) => [ip, role]),
        [[labAddresses.external, "self"]],
      );
      await expectOwnUntouched(t);
      await gw.expectConverged(t);
      await watch.stop();
    });
  });
}

function conditionIn({ status }: ObjectReply, type: string) {
  return status.conditions.find((condition) => condition.type === type);
}

/** The MAC of the outside host. */
async function macOf(gw: Gateway): Promise<string> {
  return (await readLink(gw.lab.namespaceOf("outside"), "eth0")).address;
}
