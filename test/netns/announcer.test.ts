import t from "tap";
import { type AnnouncerOptions, createAnnouncer } from "../../agent/kernel/announcer/announcer.ts";
import {
  openArpSocket,
  type PacketSocket,
  type SocketUse,
} from "../../agent/kernel/announcer/packet-socket.ts";
import type { AddressOnLink } from "../../agent/kernel/drivers.ts";
import { createLog } from "../../agent/log.ts";
import { type ArpPacket, decodeArp } from "../../lib/arp/packet.ts";
import type { Ip } from "../../lib/model/ip.ts";
import { fromU32, parseIp } from "../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { ObservedLink } from "../../lib/model/observed.ts";
import { enterNamespace } from "../support/enter-namespace.ts";
import { runIn } from "../support/in-namespace.ts";
import { readLink } from "../support/links.ts";
import { addNamespaces, deleteNamespaces, ipBatch, testName } from "../support/namespaces.ts";
import { until } from "../support/run.ts";

const gateway = testName("arp-gw");
const neighbour = testName("arp-nb");
await addNamespaces([gateway, neighbour]);
t.teardown(() => deleteNamespaces([gateway, neighbour]));
await ipBatch(gateway, [
  `link add net1 type veth peer name net1 netns ${neighbour}`,
  "link set net1 up",
  "address add 203.0.113.2/24 dev net1",
]);
await ipBatch(neighbour, ["link set net1 up", "address add 203.0.113.1/24 dev net1"]);

async function linkOf(namespace: string): Promise<ObservedLink> {
  const { ifindex, ifname, address } = await readLink(namespace, "net1");
  return { index: ifindex, name: ifname as InterfaceName, mac: address, isUp: true, hasCarrier: true };
}
const links = { [gateway]: await linkOf(gateway), [neighbour]: await linkOf(neighbour) };
const ourMac = links[gateway]?.mac ?? "";
const neighbourMac = links[neighbour]?.mac ?? "";

/** A socket belongs to the namespace in which it was opened, wherever it is used. */
function openIn(namespace: string, linkIndex: number, use: SocketUse): PacketSocket {
  const leave = enterNamespace(namespace);
  try {
    return openArpSocket(linkIndex, use);
  } finally {
    leave();
  }
}

const failures: string[] = [];
function announcerIn(namespace: string, options: Partial<AnnouncerOptions> = {}) {
  return createAnnouncer({
    links: () => [links[namespace] ?? t.fail("no link")] as ObservedLink[],
    isWanted: () => true,
    stillOwned: () => true,
    probeMs: 200,
    announceAtMs: [0, 20],
    log: createLog("silent", { version: "test" }),
    onFailure: (code) => failures.push(code),
    openSocket: (index, use) => openIn(namespace, index, use),
    ...options,
  });
}

/** Everything that the neighbour receives from now on. */
async function listen() {
  const socket = openIn(neighbour, links[neighbour]?.index ?? 0, "receive");
  await socket.opened;
  t.teardown(() => socket.close());
  const heard: ArpPacket[] = [];
  return () => {
    const buffer = new Uint8Array(64);
    for (let length = socket.receive(buffer); length >= 0; length = socket.receive(buffer)) {
      const packet = decodeArp(buffer.subarray(0, length));
      if (packet !== undefined) heard.push(packet);
    }
    return heard;
  };
}

const on = (text: string): AddressOnLink => ({
  interface: "net1" as InterfaceName,
  address: parseIp(text) as Ip,
});
const signal = AbortSignal.timeout(60_000);

/** The neighbour's cache entry as `mac state`. */
async function cached(address: string): Promise<string> {
  const text = await runIn(neighbour, ["ip", "neigh", "show", address, "dev", "net1"]);
  return text.replace(/^.* lladdr /, "").trim();
}

t.test("a probe finds the neighbour that holds an address, and no host for a free one", async (t) => {
  const announcer = announcerIn(gateway);
  const places = ["203.0.113.1", "203.0.113.50", "203.0.113.2"].map(on);
  for (const purpose of ["take", "keep"] as const) {
    const { others, unsent } = await announcer.probe(places, purpose, signal);
    t.strictSame([[...others], [...unsent]], [[["203.0.113.1", neighbourMac]], []], purpose);
  }
  t.equal(await cached("203.0.113.50"), "", "and it told nobody that it holds anything");
  await announcer.stop();
});

t.test("2,000 addresses are probed for at once, and every one of those that are held answers", async (t) => {
  const addresses = Array.from({ length: 2000 }, (_, n) => fromU32(0xc6120000 + n));
  await ipBatch(
    neighbour,
    addresses.slice(0, 1000).map((address) => `address add ${address}/32 dev net1`),
  );
  const announcer = announcerIn(gateway);
  const { others } = await announcer.probe(addresses.map(on), "take", signal);
  t.strictSame([...others.keys()].sort(), addresses.slice(0, 1000).sort());
  await announcer.stop();
});

t.test("if two gateways probe for one address at the same time, never both find it free", async (t) => {
  const one = announcerIn(gateway);
  const other = announcerIn(neighbour);
  const answers = await Promise.all(
    [one, other].map((each) => each.probe([on("203.0.113.60")], "take", signal)),
  );
  // The gateway that hears the other first stops probing and leaves the address to it.
  const heard = answers.map(({ others }) => others.get(on("203.0.113.60").address));
  t.ok(heard[0] !== undefined || heard[1] !== undefined);
  t.ok([undefined, neighbourMac].includes(heard[0]));
  t.ok([undefined, ourMac].includes(heard[1]));
  await Promise.all([one.stop(), other.stop()]);
});

t.test("an announcement corrects a stale entry, and makes one where the neighbour accepts it", async (t) => {
  await runIn(neighbour, ["sysctl", "-qw", "net.ipv4.conf.net1.arp_accept=1"]);
  await ipBatch(neighbour, ["neigh add 203.0.113.10 lladdr 0a:00:00:00:00:99 dev net1 nud stale"]);
  const announcer = announcerIn(gateway);
  announcer.announce([on("203.0.113.10"), on("203.0.113.11")]);
  for (const address of ["203.0.113.10", "203.0.113.11"]) {
    t.equal(
      await until(`the entry of ${address}`, async () => {
        const entry = await cached(address);
        return entry.includes(ourMac) && entry;
      }),
      `${ourMac} STALE`,
    );
  }
  await announcer.stop();
});

t.test("either form of an announcement alone corrects the entry", async (t) => {
  for (const form of ["request", "reply"] as const) {
    const address = form === "request" ? "203.0.113.12" : "203.0.113.13";
    await ipBatch(neighbour, [`neigh add ${address} lladdr 0a:00:00:00:00:99 dev net1 nud stale`]);
    const announcer = announcerIn(gateway, {
      openSocket: (index, use) => {
        const socket = openIn(gateway, index, use);
        const broadcast = (packet: Uint8Array) =>
          decodeArp(packet)?.operation === form ? socket.broadcast(packet) : packet.length;
        return { ...socket, broadcast };
      },
    });
    announcer.announce([on(address)]);
    await until(`the ${form} to be believed`, async () => (await cached(address)).includes(ourMac));
    t.pass(form);
    await announcer.stop();
  }
});

t.test("1,000 EIPs are announced without loss, in both forms, twice", async (t) => {
  const heard = await listen();
  const announcer = announcerIn(gateway);
  const addresses = Array.from({ length: 1000 }, (_, n) => fromU32(0xc6130000 + n));
  announcer.announce(addresses.map(on));
  const packets = await until("4,000 packets", () => heard().length >= 4000 && heard());
  t.equal(packets.length, 4000);
  t.ok(packets.every(({ senderMac, senderIp, targetIp }) => senderMac === ourMac && senderIp === targetIp));
  t.equal(packets.filter(({ operation }) => operation === "request").length, 2000);
  t.equal(new Set(packets.map(({ senderIp }) => senderIp)).size, 1000);
  await announcer.stop();
});

t.test("a link that is down or gone is reported as not probed, and does not throw", async (t) => {
  const announcer = announcerIn(gateway);
  failures.length = 0;
  await ipBatch(gateway, ["link set net1 down"]);
  const unsent = async () => [...(await announcer.probe([on("203.0.113.1")], "take", signal)).unsent];
  t.strictSame(await unsent(), ["203.0.113.1"]);
  announcer.announce([on("203.0.113.10")]);
  await until("the refused announcements", () => failures.length === 3);
  await ipBatch(gateway, ["link delete net1"]);
  t.strictSame(await unsent(), ["203.0.113.1"]);
  t.strictSame(failures, ["ENETDOWN", "ENETDOWN", "ENETDOWN", "ENODEV"]);
  await announcer.stop();
});
