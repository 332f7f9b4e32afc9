/**
 * The gates: what no rule translates does not leave a fresh namespace, what is translated passes at once, and BFD waits until the
 * gateway translates.
 */
import { readdir, symlink, unlink } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { WireWatch } from "../faults/wire-watch.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { Host } from "../support/host.ts";
import { gatewayMacs, labAddresses } from "../support/lab.ts";
import { RawLink, type Segment } from "../support/raw-packets.ts";
import { eip, gateway, outsideTcp, outsideUdp, tcp, udp } from "../support/targets.ts";

const fip = { eip: "eip-10", internalIp: "10.0.1.5" };
const pods = { pod1: "10.0.1.5", pod2: "10.0.1.6" };
const set = { generation: 1, gateway, eips: [eip(10)], fips: [{ name: "fip", ...fip }] };

/** Cannot begin a connection, so conntrack calls it INVALID. */
const stray: Segment = {
  source: pods.pod2,
  sourcePort: 40_000,
  destination: labAddresses.outside,
  destinationPort: 40_001,
  sequence: 1,
  acknowledgement: 7,
  flags: ["SYN", "ACK"],
  length: 0,
};

/** A gateway without an agent; the outside host knows the way back to pods. */
async function makeGateway(t: Test, variant: (typeof variants)[number]): Promise<Gateway> {
  const isWithoutNft = variant === "iptables-legacy without nft";
  const gw = await Gateway.make(t, isWithoutNft ? "iptables-legacy" : variant);
  await gw.lab.ip("outside", `route add 10.0.0.0/8 via ${labAddresses.external}`);
  if (isWithoutNft) await unlink(join(gw.toolbox.directory, "nft"));
  return gw;
}

/** For an agent that must not find nft. */
function settingsOf(gw: Gateway, variant: (typeof variants)[number]) {
  return variant === "iptables-legacy without nft" ? { PATH: `${gw.toolbox.directory}:${withoutNft}` } : {};
}

/** A directory with all commands of this machine but nft. */
async function linkAllButNft(): Promise<string> {
  const directory = t.testdir({});
  const names = new Map<string, string>();
  for (const place of ["/bin", "/sbin", "/usr/bin", "/usr/sbin"])
    for (const name of await readdir(place)) names.set(name, join(place, name));
  names.delete("nft");
  for (const [name, path] of names) await symlink(path, join(directory, name));
  return directory;
}

const withoutNft = await linkAllButNft();
const variants = [...dataplanes, "iptables-legacy without nft"] as const;

const nft = (gw: Gateway, input: string) => gw.lab.exec("gw", ["nft", "--file", "-"], { input });

/** The tables that may drop packets. */
async function tables(gw: Gateway): Promise<readonly string[]> {
  const text = await gw.lab.exec("gw", ["nft", "list", "tables"]);
  return Array.from(text.matchAll(/ip (natgw_(?!acct|set)\w+)/g), ([, name = ""]) => name).sort();
}

async function dropped(gw: Gateway, reason: string, direction: string): Promise<number> {
  return gw.api.metric(`natgw_dropped_packets_total{reason="${reason}",direction="${direction}"}`);
}

async function sendStray(gw: Gateway): Promise<void> {
  const link = await RawLink.open(gw.lab.namespaceOf("pod2"), "eth0");
  link.send(stray, gatewayMacs.eth0);
  link.close();
}

t.jobs = variants.length;
for (const variant of variants) {
  t.test(variant, { buffered: true }, async (t) => {
    const gw = await makeGateway(t, variant);
    const settings = settingsOf(gw, variant);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    const wire = new WireWatch(gw.lab);
    await wire.start();
    const restart = async (more: Readonly<Record<string, string>>) => {
      await gw.agent.kill();
      await gw.startAgent({ ...settings, ...more }).whenReady();
    };

    await t.test("the gate of an older version is replaced, and nothing leaves meanwhile", async (t) => {
      await nft(
        gw,
        `table ip natgw_gate {
          chain forward { type filter hook forward priority -300; policy accept;
            iifname "eth0" oifname "net1" drop
          }
        }`,
      );
      await gw.lab.exec("gw", ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
      const early = await pod2.open(outsideUdp);
      await gw.startAgent(settings).whenReady();
      t.match(await gw.lab.exec("gw", ["nft", "list", "table", "ip", "natgw_gate"]), "hook postrouting");
      t.match(await gw.api.status(), { gate: "closed", degraded: [{ reason: "GateClosed" }] });
      await early.close();
      t.same(await wire.leaks(), []);
    });

    const waiting = await pod2.open(outsideUdp);

    await t.test("while it is closed, what has its rule passes at once", async (t) => {
      t.equal((await gw.api.put("eips/eip-10", eip(10), "?wait=10s")).status, 200);
      t.equal((await gw.api.put("fips/fip", fip, "?wait=10s")).status, 200);
      t.match(await gw.api.status(), { gate: "closed" });
      t.match(await pod1.ask(outsideTcp), { seenAs: "203.0.113.10" });
      t.match(await pod1.ask(outsideUdp), { seenAs: "203.0.113.10" });
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
      t.ok(await pod2.hearsNothing(outsideTcp), "and what has none does not");
      await gw.expectConverged(t);
    });

    await t.test("a flush by hand is repaired; what is dropped has no entry and is counted", async (t) => {
      await nft(gw, "flush table ip natgw_gate");
      await gw.api.reconcile();
      // What crossed while it was flushed is no fault of the agent's.
      await gw.lab.exec("gw", ["conntrack", "-D", "-s", pods.pod2]).catch(() => undefined);
      await wire.forget();
      t.ok(await pod2.hearsNothing(outsideTcp));
      await sendStray(gw);
      t.same(await gw.flows(pods.pod2, labAddresses.outside), []);
      t.same(await wire.leaks(), []);
      t.ok((await dropped(gw, "gate", "egress")) > 0);
    });

    await t.test("a flow that was dropped is translated once its rule is there", async (t) => {
      const snat = { eip: "eip-10", internalCIDR: "10.0.1.6/32" };
      t.equal((await gw.api.put("snats/one", snat, "?wait=10s")).status, 200);
      t.ok(await waiting.advance(10, 20_000));
      await waiting.close();
      t.equal((await gw.api.delete("snats/one")).status, 204);
      t.same(await wire.leaks(), []);
    });

    await t.test(
      "a full set opens it: pods without an object are forwarded, asymmetric paths too",
      async (t) => {
        const reply = await gw.api.putSet(set, "?wait=10s");
        t.equal(reply.status, 200);
        t.match(await gw.api.status(), { gate: "open", degraded: [] });
        t.same(await tables(gw), ["natgw_guard"]);
        t.match(await pod2.ask(outsideTcp), { seenAs: pods.pod2 });
        await wire.forget();
        await sendStray(gw);
        t.not((await wire.leaks()).length, 0, "a stray crosses");
        await gw.expectConverged(t);
      },
    );

    await t.test("with drop it is closed for good", async (t) => {
      const stream = await pod1.open(outsideTcp);
      t.ok(await stream.advance(20_000));
      await restart({ NATGW_UNTRANSLATED: "drop" });
      const expectDropping = async () => {
        await wire.forget();
        t.match(await gw.api.status(), { gate: "closed", untranslated: "drop", degraded: [] });
        t.ok(await pod2.hearsNothing(outsideTcp));
        t.ok(await outside.hearsNothing(tcp(pods.pod2)), "a reply would leave untranslated, too");
        await sendStray(gw);
        t.match(await pod1.ask(outsideTcp), { seenAs: "203.0.113.10" });
        t.match(await outside.ask(udp("203.0.113.10")), { answeredBy: "pod1" });
        t.ok(await stream.advance(20_000), "a live flow goes on");
        t.same(await wire.leaks(), []);
        await gw.expectConverged(t);
      };
      await expectDropping();
      const watch = await gw.watch();
      await restart({ NATGW_UNTRANSLATED: "drop" });
      t.same(await watch.stop(), [], "a restart writes nothing");
      await expectDropping();
      t.equal((await gw.api.putSet({ ...set, generation: 2 }, "?wait=10s")).status, 200);
      await expectDropping();
      await restart({});
      t.match(await gw.api.status(), { gate: "open", untranslated: "forward", degraded: [] });
      t.match(await pod2.ask(outsideTcp), { seenAs: pods.pod2 });
      t.ok((await stream.close()).isIntact);
      await gw.expectConverged(t);
    });

    await t.test("BFD waits until an object is translated", async (t) => {
      await gw.agent.kill();
      await gw.lab.renewGateway();
      await gw.loseState();
      await gw.startAgent({ ...settings, NATGW_BFD_GATE: "on" }).whenReady();
      const own = new Host(gw.lab, "gw");
      t.teardown(() => own.stop());
      const ports = [3784, 4784];
      await Promise.all([own.serve("udp", 3785, ...ports), pod1.serve("udp", 3785, ...ports)]);
      const expectSilence = async () => {
        t.match(await gw.api.status(), { bfdGate: "closed" });
        for (const port of ports) {
          t.ok(await pod1.hearsNothing(udp(labAddresses.vpc, port)), `in by ${port}`);
          t.ok(await own.hearsNothing(udp(pods.pod1, port)), `out by ${port}`);
        }
        t.match(await pod1.ask(udp(labAddresses.vpc, 3785)), { answeredBy: "gw" });
        t.match(await own.ask(udp(pods.pod1, 3785)), { answeredBy: "pod1" });
        await gw.expectConverged(t);
      };
      await expectSilence();
      const more = { generation: 1, gateway, eips: [eip(10)] };
      t.equal((await gw.api.putSet(more, "?wait=10s")).status, 200);
      t.match(await gw.api.status(), { gate: "open" });
      await expectSilence();
      for (const direction of ["ingress", "egress"])
        t.ok((await dropped(gw, "gate_bfd", direction)) > 0, direction);
      await gw.byHand.flush();
      await gw.api.reconcile();
      await restart({ NATGW_BFD_GATE: "on" });
      await expectSilence();

      t.equal((await gw.api.put("fips/fip", fip, "?wait=10s")).status, 200);
      const expectHeard = async () => {
        t.match(await gw.api.status(), { bfdGate: "open", degraded: [] });
        for (const port of ports) {
          t.match(await pod1.ask(udp(labAddresses.vpc, port)), { answeredBy: "gw" });
          t.match(await own.ask(udp(pods.pod1, port)), { answeredBy: "pod1" });
        }
        t.same(await tables(gw), ["natgw_guard"]);
        await gw.expectConverged(t);
      };
      await expectHeard();
      await restart({ NATGW_BFD_GATE: "on" });
      await expectHeard();
    });
  });
}
