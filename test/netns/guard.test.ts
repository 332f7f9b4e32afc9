/**
 * The guard: packets that conntrack calls INVALID end no connection, pods without an object keep their asymmetric paths, and
 * what an object translates is not sent out again.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import t from "tap";
import { enterNamespace } from "../support/enter-namespace.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { gatewayMacs, type HostName, labAddresses } from "../support/lab.ts";
import { ipBatch } from "../support/namespaces.ts";
import { RawLink, type Segment } from "../support/raw-packets.ts";
import { until } from "../support/run.ts";
import { eip, gateway, tcp } from "../support/targets.ts";

/** pod1 has a FIP, a second address of pod2 has an SNAT, and pod2 itself has only a port that a DNAT maps. */
const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  dnats: [
    {
      name: "web",
      eip: "eip-11",
      protocol: "tcp",
      externalPort: 8080,
      internalIp: "10.0.1.6",
      internalPort: 81,
    },
  ],
  snats: [{ name: "some", eip: "eip-12", internalCIDR: "10.0.1.112/30" }],
};

/** A connection that sends only when the test says so. */
class QuietConnection {
  readonly #socket: Socket;
  #received = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", ({ length }) => {
      this.#received += length;
    });
    socket.on("error", () => undefined);
  }

  static async open(gw: Gateway, host: HostName, address: string, port: number, localAddress?: string) {
    const leave = enterNamespace(gw.lab.namespaceOf(host));
    try {
      const socket = connect({ host: address, port, ...(localAddress && { localAddress }) });
      const connection = new QuietConnection(socket);
      await once(socket, "connect");
      await connection.#hears("a greeting", 1);
      return connection;
    } finally {
      leave();
    }
  }

  get port(): number {
    return this.#socket.localPort ?? 0;
  }

  /** True if the server's echo comes back. */
  async echoes(): Promise<boolean> {
    const before = this.#received;
    this.#socket.write("still there?\n");
    await until("an echo, or the end", () => this.#socket.destroyed || this.#received > before);
    return this.#received > before;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #hears(what: string, bytes: number): Promise<void> {
    await until(what, () => this.#received >= bytes);
  }
}

async function rawLink(gw: Gateway, host: HostName): Promise<RawLink> {
  return RawLink.open(gw.lab.namespaceOf(host), "eth0");
}

/** The number of packets that the guard dropped, from the agent's metrics. */
async function dropped(gw: Gateway, direction: string, reason = "guard_invalid"): Promise<number> {
  return gw.api.metric(`natgw_dropped_packets_total{reason="${reason}",direction="${direction}"}`);
}

const stray: Segment = {
  source: labAddresses.outside,
  sourcePort: 40_000,
  destination: labAddresses.external,
  destinationPort: 179,
  sequence: 1,
  acknowledgement: 7,
  flags: ["SYN", "ACK"],
  length: 0,
};

const isReset = ({ flags }: Segment) => flags.includes("RST");

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    t.equal((await gw.api.putSet(set, "?wait=10s")).status, 200);
    await gw.lab.ip("pod2", "address add 10.0.1.113/24 dev eth0");
    const outside = await rawLink(gw, "outside");
    const pod2 = await rawLink(gw, "pod2");
    t.teardown(() => {
      outside.close();
      pod2.close();
    });

    /** Sends the last segment with data again, 3 MB beyond the window. */
    const repeatBeyond = async (link: RawLink, mac: string, isOwn: (segment: Segment) => boolean) => {
      await link.find("a segment of the connection", (segment) => isOwn(segment) && segment.length > 0);
      const last = link.seen.findLast(isOwn);
      const answer = link.seen.findLast(
        ({ sourcePort, destinationPort }) =>
          sourcePort === last?.destinationPort && destinationPort === last.sourcePort,
      );
      if (last === undefined || answer === undefined) throw new Error("no segment");
      // The receiver would accept a RST in reply, because its sequence number is the expected one.
      const acknowledgement = answer.sequence + answer.length;
      link.send({ ...last, sequence: last.sequence + 3_000_000, acknowledgement, flags: ["ACK"] }, mac);
    };

    await t.test("a segment far beyond the window, to an EIP, ends no connection", async (t) => {
      const before = await dropped(gw, "ingress");
      const inward = await QuietConnection.open(gw, "outside", "203.0.113.10", 80);
      t.ok(await inward.echoes());
      await repeatBeyond(
        outside,
        gatewayMacs.net1,
        ({ destination, sourcePort }) => destination === "203.0.113.10" && sourcePort === inward.port,
      );
      t.ok(await inward.echoes(), "a FIP's lives at both ends");

      const outward = await QuietConnection.open(gw, "pod2", labAddresses.outside, 80, "10.0.1.113");
      t.ok(await outward.echoes());
      await repeatBeyond(
        outside,
        gatewayMacs.net1,
        ({ source, destination }) => source === labAddresses.outside && destination === "203.0.113.12",
      );
      t.ok(await outward.echoes(), "and an SNAT's");

      const hairpin = await QuietConnection.open(gw, "pod2", "203.0.113.10", 80, "10.0.1.113");
      t.ok(await hairpin.echoes());
      await repeatBeyond(
        pod2,
        gatewayMacs.eth0,
        ({ destination, sourcePort }) => destination === "203.0.113.10" && sourcePort === hairpin.port,
      );
      t.ok(await hairpin.echoes(), "and one between pods by an EIP");
      t.same([...outside.seen, ...pod2.seen].filter(isReset), [], "nobody was told to reset anything");
      await until("each to be counted", async () => (await dropped(gw, "ingress")) === before + 3);
      for (const connection of [inward, outward, hairpin]) connection.close();
    });

    await t.test("the gateway's own addresses answer as any host does", async () => {
      outside.send(stray, gatewayMacs.net1);
      await outside.find("a reset", (one) => isReset(one) && one.source === labAddresses.external);
    });

    await t.test("a pod without an object keeps its asymmetric paths, others do not leak", async (t) => {
      // A second path into the VPC that does not lead through the gateway.
      await ipBatch(gw.lab.wire, [
        `link add second type veth peer name eth1 netns ${gw.lab.namespaceOf("outside")}`,
        "link set second master br-vpc up",
      ]);
      await gw.lab.exec("outside", ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"]);
      await gw.lab.ip(
        "outside",
        "link set eth1 up",
        ...["10.0.1.5", "10.0.1.6"].map((pod) => `route add ${pod}/32 dev eth1 src ${labAddresses.outside}`),
      );
      await until("the second way", async () => (await gw.host("outside").ask(tcp("10.0.1.6"))) && true);
      const before = await dropped(gw, "egress");
      t.match(await gw.host("outside").ask(tcp("10.0.1.6")), { answeredBy: "pod2" });
      t.equal(await dropped(gw, "egress"), before, "nothing of it is dropped");
      t.ok(await gw.host("outside").hearsNothing(tcp("10.0.1.5")), "a FIP's pod answers by its EIP alone");
      t.ok(await gw.host("outside").hearsNothing(tcp("10.0.1.6", 81)), "and the port that a DNAT leads to");
      await until("what was dropped to be counted", async () => (await dropped(gw, "egress")) > before);
      const leaked = outside.seen.filter(
        ({ source, sourcePort }) => source === "10.0.1.5" || sourcePort === 81,
      );
      t.same(leaked, [], "under its own address");
    });

    await t.test("what a FIP or a DNAT translates is not sent out again", async (t) => {
      const far = {
        ...set,
        generation: 2,
        eips: [...set.eips, eip(13)],
        fips: [...set.fips, { name: "far", eip: "eip-13", internalIp: "192.168.77.5" }],
        dnats: [
          ...set.dnats,
          {
            name: "far",
            eip: "eip-11",
            protocol: "tcp",
            externalPort: 9090,
            internalIp: "192.168.77.6",
            internalPort: 81,
          },
        ],
      };
      await gw.api.putSet(far, "?wait=1s");
      const syn: Segment = { ...stray, acknowledgement: 0, flags: ["SYN"] };
      const leads = ({ destination }: Segment) => destination.startsWith("192.168.77.");
      let port = 41_000;
      /** A new flow to each, from the outside and from a pod. */
      const beginFlows = () => {
        for (const [destination, destinationPort] of [
          ["203.0.113.13", 80],
          ["203.0.113.11", 9090],
        ] as const)
          for (const [link, source, mac] of [
            [outside, labAddresses.outside, gatewayMacs.net1],
            [outside, "198.51.100.9", gatewayMacs.net1],
            [pod2, "10.0.1.6", gatewayMacs.eth0],
          ] as const)
            link.send({ ...syn, source, sourcePort: ++port, destination, destinationPort }, mac);
      };
      const misrouted = () => dropped(gw, "ingress", "guard_misrouted");
      const before = await misrouted();
      beginFlows();
      await until("each to be counted", async () => (await misrouted()) === before + 6);
      t.same(outside.seen.filter(leads), [], "by the default route");

      await gw.lab.exec("gw", ["nft", "add", "table", "ip", "other"]);
      for (const line of [
        "add chain ip other pre { type nat hook prerouting priority -150; }",
        "add rule ip other pre ip daddr 203.0.113.254 tcp dport 7000 dnat to 192.168.77.9",
      ])
        await gw.lab.exec("gw", ["nft", line]);
      outside.send(
        { ...syn, sourcePort: ++port, destination: labAddresses.external, destinationPort: 7000 },
        gatewayMacs.net1,
      );
      await outside.find("another program's DNAT", ({ destination }) => destination === "192.168.77.9");
      await gw.lab.exec("gw", ["nft", "delete", "table", "ip", "other"]);

      await gw.lab.ip("gw", "route add 192.168.77.0/24 via 10.0.1.6 dev eth0");
      const counted = await misrouted();
      beginFlows();
      for (const destination of ["192.168.77.5", "192.168.77.6"])
        await pod2.find(
          `${destination}, by its route into the VPC`,
          (one) => one.destination === destination,
        );
      t.equal(await misrouted(), counted, "nothing of it is dropped");
      await gw.lab.ip("gw", "route delete 192.168.77.0/24");
      await gw.api.putSet({ ...set, generation: 3 }, "?wait=10s");
    });

    await t.test(
      "counters continue when the guard is created again, by the agent or by another program",
      async (t) => {
        const before = await dropped(gw, "ingress");
        t.ok(before > 0);
        const drop = async (expected: number) => {
          outside.send({ ...stray, destination: "203.0.113.10" }, gatewayMacs.net1);
          await until("it to be counted", async () => (await dropped(gw, "ingress")) === expected);
        };
        await gw.lab.exec("gw", ["nft", "add", "chain", "ip", "natgw_guard", "other"]);
        await gw.api.reconcile();
        await drop(before + 1);
        await gw.lab.exec("gw", ["nft", "delete", "table", "ip", "natgw_guard"]);
        await gw.api.reconcile();
        await drop(before + 2);
        await gw.agent.stop();
        await gw.startAgent().whenReady();
        await gw.expectConverged(t);
        t.equal(await dropped(gw, "ingress"), 1, "a new agent tells what the kernel counts");
      },
    );

    await gw.expectConverged(t);
  });
}
