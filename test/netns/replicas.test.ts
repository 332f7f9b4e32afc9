/**
 * Two replicas of one gateway on one L2 with the same EIPs and the same calls, as Kube-OVN runs them: no AddressConflict, no BFD
 * until something is translated, and a replica that was never initialized gets no traffic.
 */
import { rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { plugInSecondGateway, secondGateway } from "../faults/second-gateway.ts";
import { AgentProcess } from "../support/agent-process.ts";
import type { ApiClient } from "../support/api-client.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { Host } from "../support/host.ts";
import { runIn } from "../support/in-namespace.ts";
import { KernelWatch } from "../support/kernel-watch.ts";
import { imageSettings } from "../support/kube-ovn-simulator/player.ts";
import { labAddresses } from "../support/lab.ts";
import { readLink } from "../support/links.ts";
import { callScript } from "../support/nat-gateway.ts";
import { until } from "../support/run.ts";
import { outsideTcp, tcp, udp } from "../support/targets.ts";

const eip = "203.0.113.10";
const calls = [
  ["init"],
  ["eip-add", `${eip}/24`],
  ["floating-ip-add", `${eip},10.0.1.5`],
  ["snat-add", `${eip},10.0.1.0/24,--random-fully`],
  ["eip-egress-qos-add", `${eip},1,100,10`],
];
const bfd = 3784;

/** What each replica says by ARP, and what reaches the second one that is not for its own address. */
const watched = (mac: string) => `
table bridge replicas {
  set said_by_first { type ipv4_addr; flags dynamic; size 1024; }
  set said_by_second { type ipv4_addr; flags dynamic; size 1024; }
  set announced_by_second { type ipv4_addr; flags dynamic; size 1024; }
  set to_second { type ipv4_addr; flags dynamic; size 1024; }
  chain pre {
    type filter hook prerouting priority -300; policy accept;
    iifname "gw-out" arp saddr ip != 0.0.0.0 add @said_by_first { arp saddr ip }
    iifname "gw2-out" arp saddr ip != 0.0.0.0 add @said_by_second { arp saddr ip }
    iifname "gw2-out" ether daddr ff:ff:ff:ff:ff:ff arp saddr ip != 0.0.0.0 add @announced_by_second { arp saddr ip }
    ether daddr ${mac} ip daddr != ${secondGateway.external} add @to_second { ip daddr }
  }
}
`;

interface Listed {
  readonly items: readonly {
    readonly name: string;
    readonly status: { readonly ready: boolean; readonly conditions: readonly { readonly reason: string }[] };
  }[];
}

/** The reasons of all conditions. */
async function reasons(api: ApiClient): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const kind of ["eips", "fips", "snats", "limits"]) {
    const { body } = await api.call<Listed>("GET", `/v1/${kind}`);
    for (const { status } of body.items) for (const { reason } of status.conditions) found.add(reason);
  }
  return found;
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.make(t, dataplane, imageSettings);
    const twin = await plugInSecondGateway(t, gw);
    const second = twin.lab.namespaceOf("gw");
    const { address: mac } = await readLink(second, "net1");
    const onWire = (args: readonly string[], input = "") => {
      return runIn(gw.lab.wire, ["nft", ...args], { input });
    };
    await onWire(["-f", "-"], watched(mac));
    const addressesIn = async (set: string) => {
      const text = await onWire(["list", "set", "bridge", "replicas", set]);
      return Array.from(text.matchAll(/\d+\.\d+\.\d+\.\d+/g), ([ip]) => ip);
    };

    await gw.startAgent().whenReady();
    let agent = await AgentProcess.start(twin.lab, twin.agentOptions).whenReady();
    t.teardown(() => agent.kill());
    /** The container starts again: its state is lost, its network stays. */
    const restart = async () => {
      await agent.kill();
      await rm(twin.agentOptions.stateDirectory, { recursive: true, force: true });
      const watch = await KernelWatch.start(second, gw.toolbox);
      agent = await AgentProcess.start(twin.lab, twin.agentOptions).whenReady();
      await agent.api.reconcile();
      return watch.stop();
    };
    const [outside, pod1] = [gw.host("outside"), gw.host("pod1")];
    const [own, ownOfSecond] = [new Host(gw.lab, "gw"), new Host(twin.lab, "gw")];
    t.teardown(() => Promise.all([own.stop(), ownOfSecond.stop()]));
    await Promise.all([own, ownOfSecond, pod1].map((host) => host.serve("udp", bfd)));
    const expectSilence = async (when: string) => {
      t.match(await agent.api.status(), { bfdGate: "closed" }, when);
      t.ok(await pod1.hearsNothing(udp(secondGateway.vpc, bfd)), `${when}: BFD to the replica`);
      t.ok(await ownOfSecond.hearsNothing(udp("10.0.1.5", bfd)), `${when}: BFD of the replica`);
      t.match(await outside.ask(tcp(eip)), { answeredBy: "pod1" }, `${when}: the other one translates`);
      t.notOk((await addressesIn("said_by_second")).includes(eip), `${when}: no ARP for the EIP`);
      t.same(await addressesIn("to_second"), [], `${when}: no packet comes`);
    };

    for (const args of calls)
      t.match(await callScript(gw, "argv", args), { exitCode: 0, stderr: "" }, args.join(" "));
    t.match(await pod1.ask(udp(labAddresses.vpc, bfd)), { answeredBy: "gw" });

    await t.test("a replica that was never initialized", async (t) => {
      await expectSilence("new");
      t.same(await restart(), [], "a restart writes nothing");
      await expectSilence("after a restart");
      t.match(await callScript(twin, "argv", ["eip-add", `${eip}/24`]), {
        exitCode: 1,
        stderr: "nat gateway not initialized",
      });
    });

    await t.test("one that was initialized and has no object yet", async (t) => {
      t.match(await callScript(twin, "argv", ["init"]), { exitCode: 0, stderr: "" });
      await until("its gate to open", async () => (await agent.api.status()).gate === "open", 15_000);
      t.same(await restart(), [], "a restart writes nothing");
      await expectSilence("after init");
    });

    await t.test("both with the same calls", async (t) => {
      // `init` does not come again after a restart of the container.
      for (const args of calls.slice(1))
        t.match(await callScript(twin, "argv", args), { exitCode: 0, stderr: "" }, args.join(" "));
      await until("both to announce the EIP", async () => {
        const said = await Promise.all(["said_by_first", "said_by_second"].map(addressesIn));
        return said.every((addresses) => addresses.includes(eip));
      });
      for (const api of [gw.api, agent.api]) {
        t.match(await api.reconcile(), { changed: 0, failed: [] });
        t.match(await api.status(), { bfdGate: "open", degraded: [] });
        t.notOk((await reasons(api)).has("AddressConflict"));
        const { body } = await api.call<Listed>("GET", "/v1/eips?ready=false");
        t.same(body.items, []);
      }
      t.match(await pod1.ask(udp(secondGateway.vpc, bfd)), { answeredBy: "gw" });
      await until("its announcements to end", async () => {
        await onWire(["flush", "set", "bridge", "replicas", "announced_by_second"]);
        await delay(4_000);
        return (await addressesIn("announced_by_second")).length === 0;
      });
      // Hosts outside know the EIP at the first one, as after its next announcement.
      const { address: first } = await readLink(gw.lab.namespaceOf("gw"), "net1");
      await gw.lab.ip("outside", `neigh replace ${eip} lladdr ${first} dev eth0 nud reachable`);
      const stream = await pod1.open(outsideTcp);
      t.ok(await stream.advance(1_000));
      t.same(await restart(), [], "a restart writes nothing");
      await delay(1_000);
      t.same(await addressesIn("announced_by_second"), [], "it does not take the EIP's packets to itself");
      t.ok(await stream.advance(20_000), "a flow through the other one goes on");
      t.ok((await stream.close()).isIntact);
      t.match(await agent.api.status(), { bfdGate: "open", degraded: [] });
      t.match(await pod1.ask(udp(secondGateway.vpc, bfd)), { answeredBy: "gw" });
    });
  });
}
