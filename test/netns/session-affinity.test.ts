/** DNATs whose client's address decides which backend it gets, with traffic through them. */
import t, { type Test } from "tap";
import { hashSeed } from "../../lib/nftables/expressions.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { hashOf } from "../support/model-kernel/jhash.ts";
import { toIp } from "../support/network-values.ts";
import { eip, eipAddress, gateway, tcp } from "../support/targets.ts";

const three = [
  { ip: "10.0.1.5", port: 80 },
  { ip: "10.0.1.6", port: 80 },
  { ip: "10.0.1.6", port: 81 },
];
const web = tcp(eipAddress(10), 8090);
const clients = Array.from({ length: 12 }, (_, at) => `203.0.113.${200 + at}`);

function dnat(backends: readonly object[], sessionAffinity?: "ClientIP") {
  const service = { name: "web", eip: "eip-10", protocol: "tcp", externalPort: 8090 };
  return { ...service, backends, ...(sessionAffinity && { sessionAffinity }) };
}

const set = {
  generation: 1,
  gateway,
  eips: [eip(10)],
  dnats: [
    dnat(three, "ClientIP"),
    // The same number of backends, drawn at random: a rule of its own.
    { ...dnat(three), name: "random", externalPort: 8091 },
  ],
};

for (const dataplane of dataplanes)
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const outside = gw.host("outside");
    for (const client of clients)
      await gw.lab.exec("outside", ["ip", "address", "add", `${client}/32`, "dev", "lo"]);

    /** The backend of each client, the same at every attempt. */
    async function answers(t: Test): Promise<ReadonlyMap<string, string>> {
      const found = new Map<string, string>();
      for (const from of clients) {
        for (let attempt = 0; attempt < 4; attempt++)
          t.match(await outside.ask({ ...web, from }), { seenAs: from });
        const backends = new Set(
          (await gw.flows(from)).flatMap((flow) => {
            const [, ip, port] = / dport=8090 src=(\S+) dst=\S+ sport=(\d+) /.exec(flow) ?? [];
            return flow.includes(" ESTABLISHED ") || ip === undefined ? [] : [`${ip}:${port}`];
          }),
        );
        t.equal(backends.size, 1, `${from} has one backend: ${[...backends].join()}`);
        found.set(from, [...backends].join());
        await gw.lab.exec("gw", ["conntrack", "-D", "-s", from, "--state", "TIME_WAIT"]).catch(() => "");
      }
      return found;
    }
    const used = (found: ReadonlyMap<string, string>) => [...new Set(found.values())].sort();

    const listed = () =>
      gw.lab.exec("gw", [
        "nft",
        "list",
        "table",
        "ip",
        ...(dataplane === "nftables" ? ["natgw"] : ["kube-ovn"]),
      ]);

    await t.test("a client always gets the same backend, not all clients the same", async (t) => {
      t.match(await gw.api.putSet(set, "?wait=10s"), { status: 200, body: { notReady: [] } });
      t.match(await listed(), "jhash ip saddr mod 3 seed 0x1");
      t.match(await listed(), "numgen random mod 3");
      const before = await answers(t);
      t.same(used(before), ["10.0.1.5:80", "10.0.1.6:80", "10.0.1.6:81"]);
      for (const [client, backend] of before) {
        const { ip, port } = three[hashOf(toIp(client), 3, hashSeed)] ?? {};
        t.equal(backend, `${ip}:${port}`, "as the kernel in memory has it");
      }
      const pods = new Set<string>();
      for (let asked = 0; asked < 40; asked++) {
        const answer = await outside.ask(tcp(eipAddress(10), 8091));
        pods.add("answeredBy" in answer ? answer.answeredBy : "nobody");
      }
      t.same([...pods].sort(), ["pod1", "pod2"], "the DNAT without affinity draws");
      await gw.expectConverged(t);

      await gw.agent.stop();
      const watch = await gw.watch();
      await gw.startAgent().whenReady();
      t.same(await watch.stop(), [], "a restart writes nothing");
      t.same(await answers(t), before, "nor does it change who answers");
    });

    await t.test("a change of the affinity keeps live flows", async (t) => {
      const streams = await Promise.all(clients.map((from) => outside.open({ ...web, from })));
      for (const affinity of [undefined, "ClientIP"] as const) {
        t.equal((await gw.api.put("dnats/web", dnat(three, affinity))).status, 200);
        for (const stream of streams) t.ok(await stream.advance(1_000));
        if (affinity === undefined) t.notMatch(await listed(), "jhash");
      }
      await answers(t);
      await gw.expectConverged(t);

      const left = three.slice(0, 2);
      const ofLast = async () =>
        (await gw.flows("203.0.113.10")).filter((flow) =>
          / ESTABLISHED .* dport=8090 .* sport=81 /.test(flow),
        ).length;
      const gone = await ofLast();
      t.equal((await gw.api.put("dnats/web", dnat(left, "ClientIP"))).status, 200);
      let going = 0;
      for (const stream of streams) if (await stream.advance(1_000, 500)) going++;
      t.equal(going, clients.length - gone, "flows of the backends that stay go on");
      await Promise.all(streams.map((stream) => stream.close()));
      await gw.lab.exec("gw", ["conntrack", "-D", "-d", "203.0.113.10"]);
      t.same(used(await answers(t)), ["10.0.1.5:80", "10.0.1.6:80"]);
      await gw.expectConverged(t);
    });

    await t.test("explain names all backends, and what decides", async (t) => {
      const { body } = await gw.api.call(
        "GET",
        "/v1/explain?from=203.0.113.200&to=203.0.113.10&protocol=tcp&port=8090",
      );
      t.match(JSON.stringify(body), "one of 10.0.1.5:80, 10.0.1.6:80 by the client's address");
    });

    await t.test("an import reads it", async (t) => {
      const { status, body } = await gw.api.call("POST", "/v1/import?from=kernel");
      t.equal(status, 200);
      t.match(
        JSON.stringify(body),
        /"externalPort":8090,[^}]*"backends":\[[^\]]*\],"sessionAffinity":"ClientIP"/,
      );
    });
  });
