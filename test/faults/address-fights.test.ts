/**
 * Two gateways, or a foreign host, and one address.
 *
 * Seen in the field: an EIP moved to another gateway was unreachable for minutes, because the new gateway, after it had
 * found the address in use, probed again only after 10 s, then after twice as long. And a handful of forged claims made
 * a working EIP not Ready for five minutes, although no other host held the address.
 *
 * In this test two agents share a network. An EIP moves from one to the other with few probes, whichever probes first.
 * If both hold it, both report it. A foreign claim counts only while a host replies for the address.
 */
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { announcementsOf, type Mac } from "../../lib/arp/packet.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { AgentProcess } from "../support/agent-process.ts";
import type { ApiClient } from "../support/api-client.ts";
import { Gateway } from "../support/gateway.ts";
import { runIn } from "../support/in-namespace.ts";
import { gatewayMacs } from "../support/lab.ts";
import { readLink } from "../support/links.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway } from "../support/targets.ts";
import { ArpTape } from "./arp-tape.ts";
import { startSecondGateway } from "./second-gateway.ts";

const address = eipAddress(20) as Ip;
const path = "eips/eip-20";
const deadlineMs = 30_000;
/** A frame that was sent before is heard within this time, also on a busy machine. */
const wireDelayMs = 200;

const variants = [
  ["iptables-nft", "address"],
  ["nftables", "route"],
] as const;

// The test mostly waits: for replies on the wire, and for the next probe.
t.jobs = variants.length;
for (const [dataplane, binding] of variants) {
  t.test(`${dataplane}, EIPs bound by ${binding}`, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_ARP_PROBE: "200ms", NATGW_EIP_BINDING: binding });
    const second = await startSecondGateway(t, gw);
    const [one, other] = [gw.agent, second];
    const otherMac = await macOf(`${gw.lab.name}b-gw`, "net1");
    const macs = new Map([
      [one, gatewayMacs.net1],
      [other, otherMac],
    ]);
    const wire = await ArpTape.start(`${gw.lab.name}-wire`, "br-out");
    t.teardown(() => wire.stop());
    for (const agent of macs.keys())
      t.equal((await agent.api.putSet({ generation: 1, gateway })).status, 200);

    /** Probes for the EIP that an agent has sent since then. */
    const questionsOf = (agent: AgentProcess, sinceMs: number) =>
      wire.heard.filter(
        ({ atMs, senderMac, targetIp, senderIp }) =>
          atMs >= sinceMs && senderMac === macs.get(agent) && targetIp === address && senderIp !== address,
      );
    const expectOthersConflict = async (t: Test, agent: AgentProcess, mac: string) => {
      const ready = await until(`${path} to be contested`, async () => {
        const ready = await readyOf(agent.api);
        return ready?.reason === "AddressConflict" && ready;
      });
      t.match(ready?.message, mac, "it says who is in the way");
    };

    await t.test(
      "an EIP moves after its release with few probes, whichever gateway probes first",
      async (t) => {
        const hints = {
          "nobody hints at it": async () => {},
          "a reconcile is asked for": (api: ApiClient) => api.reconcile(),
          "it is PUT again": (api: ApiClient) => api.put(path, eip(20), ""),
          "a FIP on it is PUT": (api: ApiClient) =>
            api.put("fips/fip-20", { eip: "eip-20", internalIp: "10.0.1.5" }, ""),
        };
        const tookMs: number[] = [];
        let [holder, taker] = [one, other];
        t.equal((await holder.api.put(path, eip(20))).status, 200);
        for (const [what, hint] of Object.entries(hints)) {
          const askedAtMs = performance.now();
          t.equal(
            (await taker.api.put(path, eip(20))).status,
            202,
            "it cannot be Ready, and nobody waits for it",
          );
          await expectOthersConflict(t, taker, macs.get(holder) ?? "");
          await until("further questions", () => questionsOf(taker, askedAtMs).length >= 3);
          t.equal((await holder.api.delete(path, "?wait=20s&cascade=true")).status, 204);
          const releasedAtMs = performance.now();
          await hint(taker.api);
          await untilReady(taker.api);
          tookMs.push(performance.now() - releasedAtMs);
          // One probe can be under way when the EIP is released and is still answered. The next one gets no reply, with
          // two frames each.
          t.ok(
            questionsOf(taker, releasedAtMs).length <= 4,
            `${what}: ${questionsOf(taker, releasedAtMs).length} questions`,
          );
          await until("all to know the new MAC", () =>
            wire.heard.some(
              (packet) =>
                packet.atMs > releasedAtMs &&
                packet.senderIp === address &&
                packet.senderMac === macs.get(taker),
            ),
          );
          [holder, taker] = [taker, holder];
        }
        t.comment(`from the release to Ready: ${tookMs.map(Math.round).join(", ")} ms`);

        t.equal((await holder.api.delete(path, "?wait=20s&cascade=true")).status, 204);
        t.equal(
          (await taker.api.put(path, eip(20))).status,
          200,
          "what is free is taken while the caller waits",
        );
        t.equal((await holder.api.put(path, eip(20))).status, 202);
        // The taker heard that probe and checks for conflicts. The check ends when the taker gives up the EIP.
        // Otherwise a late frame of it would count as a rival's probe.
        t.equal((await taker.api.delete(path)).status, 204);
        t.equal((await holder.api.put(path, eip(20))).status, 200, "and so is what has just become free");
        t.equal((await holder.api.delete(path)).status, 204);
      },
    );

    await t.test("an EIP that is given up while another host holds it is probed for no more", async (t) => {
      const [holder, taker] = [other, one];
      t.equal((await holder.api.put(path, eip(20))).status, 200);
      t.equal((await taker.api.put(path, eip(20))).status, 202);
      await expectOthersConflict(t, taker, macs.get(holder) ?? "");
      t.equal((await taker.api.delete(path)).status, 204);
      const deletedAtMs = performance.now();
      // Without the deletion the taker would ask about every second.
      await delay(3_000);
      t.equal(questionsOf(taker, deletedAtMs + wireDelayMs).length, 0);
      t.equal((await holder.api.delete(path)).status, 204);
    });

    await t.test("two gateways want an EIP at once: never are both Ready", async (t) => {
      const outcomes: string[] = [];
      for (let round = 0; round < 8; round++) {
        await Promise.all([one, other].map(({ api }) => api.put(path, eip(20), "")));
        const settled = await until(
          "one of them to have it, or both to say that they do",
          async () => {
            const [first, second] = await Promise.all([one, other].map(({ api }) => claimOf(api)));
            if (first === "Ready" && second === "Ready") return false;
            const isContested = first === "held by both" && second === "held by both";
            const isOnes = [first, second].sort().join() === "AddressConflict,Ready";
            return (isContested || isOnes) && `${first} / ${second}`;
          },
          deadlineMs,
        );
        outcomes.push(settled);
        for (const { api } of [one, other]) t.equal((await api.delete(path)).status, 204);
      }
      t.comment(outcomes.join("; "));
    });

    await t.test(
      "with a cut link both gateways take the EIP, and both report the conflict once the link is back",
      async (t) => {
        t.equal((await one.api.put(path, eip(20))).status, 200);
        const port = (state: string) => runIn(gw.lab.wire, ["ip", "link", "set", "gw-out", state]);
        await port("down");
        t.equal((await other.api.put(path, eip(20))).status, 200, "nobody answers for it");
        await port("up");
        await expectOthersConflict(t, one, otherMac);
        await expectOthersConflict(t, other, gatewayMacs.net1);
        for (const { api } of [one, other]) t.equal(await claimOf(api), "held by both", "and both keep it");
        const before = performance.now();
        t.equal((await other.api.delete(path)).status, 204);
        await untilReady(one.api);
        t.comment(`Ready ${Math.round(performance.now() - before)} ms after the other let go`);
      },
    );

    await t.test("unconfirmed claims are counted and have no effect", async (t) => {
      const stranger = await ArpTape.start(gw.lab.namespaceOf("outside"), "eth0");
      t.teardown(() => stranger.stop());
      const claims = (result: string) => one.api.metric(`natgw_arp_claims_total{result="${result}"}`);
      const [since, counted] = [(await readyOf(one.api))?.lastTransitionTime, await claims("unconfirmed")];
      for (let number = 1; number <= 8; number++) {
        const mac = `02:00:00:00:66:0${number}` as Mac;
        const before = await claims("unconfirmed");
        for (const packet of announcementsOf(mac, address)) stranger.say(packet);
        await until(`claim ${number} to be looked into`, async () => (await claims("unconfirmed")) > before);
        t.match(await readyOf(one.api), { status: "True", lastTransitionTime: since });
      }
      t.equal(await claims("unconfirmed"), counted + 8);
      t.same((await one.api.status()).degraded, []);
      t.match(one.log, "another host claimed this EIP but did not answer a probe");

      const confirmed = await claims("confirmed");
      const outsideMac = await macOf(gw.lab.namespaceOf("outside"), "eth0");
      await gw.lab.ip("outside", `address add ${address}/24 dev eth0`);
      for (const packet of announcementsOf(outsideMac, address)) stranger.say(packet);
      await expectOthersConflict(t, one, outsideMac);
      t.equal(await claims("confirmed"), confirmed + 1);
      await gw.lab.ip("outside", `address delete ${address}/24 dev eth0`);
      const goneAtMs = performance.now();
      await untilReady(one.api);
      t.ok(questionsOf(one, goneAtMs).length <= 4, "asked as for an EIP that is to be taken over");
      t.comment(`Ready ${Math.round(performance.now() - goneAtMs)} ms after the other let go`);
      t.equal((await one.api.delete(path)).status, 204);
    });

    await t.test("replies from changing MACs block an EIP only as long as they arrive", async (t) => {
      const stranger = await ArpTape.start(gw.lab.namespaceOf("outside"), "eth0");
      t.teardown(() => stranger.stop());
      let lies = 0;
      let isLying = true;
      stranger.onPacket(({ operation, senderMac, targetIp }) => {
        if (!isLying || operation !== "request" || targetIp !== address) return;
        const mac = `02:00:00:00:77:${String(++lies).padStart(2, "0")}` as Mac;
        const [, reply] = announcementsOf(mac, address);
        stranger.say({ ...reply, targetMac: senderMac });
      });
      t.equal((await other.api.put(path, eip(20))).status, 202);
      await expectOthersConflict(t, other, "02:00:00:00:77:");
      await until("eight answers from eight MACs", () => lies >= 8, deadlineMs);
      isLying = false;
      const endedAtMs = performance.now();
      await untilReady(other.api);
      t.ok(questionsOf(other, endedAtMs).length <= 4);
      t.comment(`Ready ${Math.round(performance.now() - endedAtMs)} ms after the last lie`);
      t.equal((await other.api.delete(path)).status, 204);
    });
    await gw.expectConverged(t);
  });
}

async function readyOf(api: ApiClient) {
  const { status, body } = await api.get(path);
  if (status === 404) return undefined;
  return body.status.conditions.find(({ type }) => type === "Ready");
}

/** The status of the EIP that an agent reports. */
async function claimOf(api: ApiClient): Promise<string> {
  const { body } = await api.get(path);
  const [ready, programmed] = ["Ready", "Programmed"].map((one) =>
    body.status.conditions.find(({ type }) => type === one),
  );
  if (ready?.status === "True") return "Ready";
  const isHeld = programmed?.status === "True" && ready?.reason === "AddressConflict";
  return isHeld ? "held by both" : String(ready?.reason);
}

async function untilReady(api: ApiClient): Promise<void> {
  await until(`${path} to be Ready`, async () => (await readyOf(api))?.status === "True", deadlineMs);
}

async function macOf(namespace: string, link: string): Promise<Mac> {
  return (await readLink(namespace, link)).address as Mac;
}
