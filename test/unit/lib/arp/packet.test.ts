import { setImmediate as nextTurn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import {
  type AnnounceResult,
  type AnnouncerOptions,
  createAnnouncer,
} from "../../../../agent/kernel/announcer/announcer.ts";
import type { PacketSocket } from "../../../../agent/kernel/announcer/packet-socket.ts";
import type { AddressOnLink } from "../../../../agent/kernel/drivers.ts";
import { createLog } from "../../../../agent/log.ts";
import {
  type ArpPacket,
  announcementsOf,
  answerOf,
  arpPacketBytes,
  claimOf,
  decodeArp,
  encodeArp,
  type Mac,
  parseMac,
  probeOf,
} from "../../../../lib/arp/packet.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { fromU32, parseIp } from "../../../../lib/model/ipv4.ts";
import { type InterfaceName, parseInterfaceName } from "../../../../lib/model/names.ts";
import type { ObservedLink } from "../../../../lib/model/observed.ts";
import { until } from "../../../support/run.ts";

function mac(text: string): Mac {
  return parseMac(text) ?? (t.fail(`no MAC: ${text}`) as never);
}
function ip(text: string): Ip {
  return parseIp(text) ?? (t.fail(`no address: ${text}`) as never);
}

const ours = mac("0a:00:00:00:00:01");
const theirs = mac("0a:00:00:00:00:02");
const eip = ip("203.0.113.10");
const zeroMac = "00:00:00:00:00:00" as Mac;

t.test("packets are the bytes of RFC 826 and RFC 5227", async (t) => {
  const hex = (packet: ArpPacket) => Buffer.from(encodeArp(packet)).toString("hex");
  const [request, reply] = announcementsOf(ours, eip);
  t.equal(
    hex(probeOf(ours, eip)),
    "0001080006040001" + "0a0000000001" + "00000000" + "000000000000" + "cb00710a",
  );
  t.equal(hex(request), "0001080006040001" + "0a0000000001" + "cb00710a" + "000000000000" + "cb00710a");
  t.equal(hex(reply), "0001080006040002" + "0a0000000001" + "cb00710a" + "0a0000000001" + "cb00710a");
});

t.test("decoding is the inverse of encoding, padded or not", async () => {
  const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
  });
  const anyIp = fc.integer({ min: 0, max: 0xffffffff }).map(fromU32);
  const packets = fc.record({
    operation: fc.constantFrom("request" as const, "reply" as const),
    senderMac: anyMac,
    senderIp: anyIp,
    targetMac: anyMac,
    targetIp: anyIp,
  });
  fc.assert(
    fc.property(packets, fc.uint8Array({ maxLength: 18 }), (packet, padding) => {
      const frame = Buffer.concat([Buffer.from("xx"), encodeArp(packet), padding]);
      return isDeepStrictEqual(decodeArp(new Uint8Array(frame).subarray(2)), { ...packet });
    }),
    { numRuns: 200 },
  );
});

t.test("other bytes than ARP for IPv4 over Ethernet are no packet, and never throw", async (t) => {
  const good = encodeArp(probeOf(ours, eip));
  for (let length = 0; length < arpPacketBytes; length++)
    t.equal(decodeArp(good.subarray(0, length)), undefined);
  for (const [offset, byte] of [
    [0, 1],
    [1, 6],
    [2, 0x86],
    [4, 8],
    [5, 16],
    [6, 1],
    [7, 0],
    [7, 3],
  ] as const) {
    const bad = Uint8Array.from(good);
    bad[offset] = byte;
    t.equal(decodeArp(bad), undefined, `byte ${offset} = ${byte}`);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => decodeArp(bytes) === undefined || true));
});

t.test("MACs are those of stations, in lower case", async (t) => {
  t.equal(parseMac("0A:00:27:00:00:FF"), "0a:00:27:00:00:ff");
  for (const bad of [
    "",
    "0a:00:27:00:00",
    "0a:00:27:00:00:0g",
    "00:00:00:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:01",
  ]) {
    t.equal(parseMac(bad), undefined, bad);
  }
});

t.test("a packet claims its sender's address, or the address that it probes for", async (t) => {
  const other = ip("203.0.113.11");
  const base = { senderMac: theirs, targetMac: zeroMac, targetIp: other } as const;
  t.equal(claimOf({ ...base, operation: "reply", senderIp: eip }), eip);
  t.equal(claimOf({ ...base, operation: "request", senderIp: eip }), eip, "asking another: holds its own");
  t.equal(claimOf(probeOf(theirs, other)), other);
  t.equal(claimOf({ ...probeOf(theirs, other), operation: "reply" }), undefined);
  t.equal(claimOf({ ...base, operation: "request", senderIp: fromU32(0), targetIp: fromU32(0) }), undefined);
});

t.test("an answer to a probe is a reply to whoever asked, by a sender that has an address", async (t) => {
  const reply = {
    operation: "reply",
    senderMac: theirs,
    senderIp: eip,
    targetMac: ours,
    targetIp: fromU32(0),
  } as const;
  t.equal(answerOf(reply, ours), eip);
  t.equal(
    answerOf({ ...reply, targetMac: theirs }, ours),
    undefined,
    "an announcement, or an answer to another",
  );
  t.equal(answerOf({ ...reply, operation: "request" }, ours), undefined);
  t.equal(answerOf({ ...reply, senderIp: fromU32(0) }, ours), undefined);
});

const net1 = parseInterfaceName("net1") as InterfaceName;
const link: ObservedLink = { index: 7, name: net1, mac: ours, isUp: true, hasCarrier: true };
const EAGAIN = 11;
const ENETDOWN = 100;

/** A fake link: it answers what is sent, or refuses it, and records both. */
class FakeLink implements PacketSocket {
  readonly opened = Promise.resolve();
  readonly sent: ArpPacket[] = [];
  readonly inbox: Uint8Array[] = [];
  open = 0;
  onSend: (packet: ArpPacket) => number = () => arpPacketBytes;

  broadcast(packet: Uint8Array): number {
    const decoded = decodeArp(packet);
    if (decoded === undefined) throw new Error("sent what is no ARP");
    const result = this.onSend(decoded);
    if (result >= 0) this.sent.push(decoded);
    return result;
  }
  receive(buffer: Uint8Array): number {
    const packet = this.inbox.shift();
    if (packet === undefined) return -EAGAIN;
    buffer.set(packet);
    return packet.length;
  }
  close(): void {
    this.open -= 1;
  }
}

function setUp(options: Partial<AnnouncerOptions> = {}) {
  const fake = new FakeLink();
  const results: Partial<Record<AnnounceResult, number>> = {};
  const failures: string[] = [];
  const announcer = createAnnouncer({
    links: () => [link],
    isWanted: () => true,
    stillOwned: () => true,
    probeMs: 40,
    announceAtMs: [0, 10, 20],
    log: createLog("silent", { version: "test" }),
    onFailure: (code) => failures.push(code),
    onAnnounced: (result, count) => {
      results[result] = (results[result] ?? 0) + count;
    },
    openSocket: (index) => {
      t.equal(index, link.index);
      fake.open += 1;
      return fake;
    },
    ...options,
  });
  return { fake, failures, results, announcer };
}

const on = (address: Ip, name = net1): AddressOnLink => ({ interface: name, address });
const manyAddresses = (count: number) => Array.from({ length: count }, (_, n) => on(fromU32(0xc6120000 + n)));
const neverAborted = new AbortController().signal;

t.test("a probe hears who answers or probes, not itself and not answers to other questions", async (t) => {
  const { fake, announcer } = setUp({
    links: () => [
      link,
      { ...link, index: 8, name: parseInterfaceName("eth0") as InterfaceName, mac: "0a:00:00:00:00:09" },
    ],
  });
  const [held, probed, free, mine] = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"].map(ip) as [
    Ip,
    Ip,
    Ip,
    Ip,
  ];
  fake.onSend = ({ targetIp }) => {
    const [claim] = announcementsOf(theirs, targetIp);
    if (targetIp === held) fake.inbox.push(encodeArp(claim));
    if (targetIp === probed) fake.inbox.push(encodeArp(probeOf(theirs, probed)));
    if (targetIp === mine) fake.inbox.push(encodeArp({ ...claim, senderMac: "0a:00:00:00:00:09" as Mac }));
    fake.inbox.push(new Uint8Array(3), encodeArp({ ...claim, senderIp: ip("203.0.113.99") }));
    return arpPacketBytes;
  };
  const places = [held, probed, free, mine].map((address) => on(address));
  const { others, unsent } = await announcer.probe(places, "take", neverAborted);
  t.strictSame(
    [...others],
    [
      [held, theirs],
      [probed, theirs],
    ],
  );
  t.equal(unsent.size, 0);
  const asked = (address: Ip) => fake.sent.filter(({ targetIp }) => targetIp === address).length;
  t.strictSame([held, free].map(asked), [1, 2], "who answered is not asked again, the others are");
  t.equal(fake.open, 0, "the socket is closed");
});

t.test("for a held address only replies count, from any host", async (t) => {
  const { fake, announcer } = setUp();
  const [answered, announced, probed, answeredToOthers] = [1, 2, 3, 4].map((last) =>
    ip(`203.0.113.${last}`),
  ) as [Ip, Ip, Ip, Ip];
  fake.onSend = ({ targetIp }) => {
    const [request, reply] = announcementsOf(theirs, targetIp);
    if (targetIp === answered)
      fake.inbox.push(encodeArp({ ...reply, targetMac: ours, targetIp: fromU32(0) }));
    if (targetIp === announced) fake.inbox.push(encodeArp(request), encodeArp(reply));
    if (targetIp === probed) fake.inbox.push(encodeArp(probeOf(theirs, targetIp)));
    if (targetIp === answeredToOthers) fake.inbox.push(encodeArp({ ...reply, targetMac: theirs }));
    return arpPacketBytes;
  };
  const places = [answered, announced, probed, answeredToOthers].map((address) => on(address));
  const { others } = await announcer.probe(places, "keep", neverAborted);
  t.strictSame([...others], [[answered, theirs]]);
});

t.test(
  "an EIP that is given up during its probe is not probed any more, and nothing is concluded",
  async (t) => {
    const [kept, gone] = [ip("203.0.113.1"), ip("203.0.113.2")];
    for (const purpose of ["take", "keep"] as const) {
      const wanted = new Set([kept, gone]);
      const { fake, announcer } = setUp({
        isWanted: ({ address }, asked) => asked === purpose && wanted.has(address),
      });
      fake.onSend = () => {
        if (fake.sent.length === 1) wanted.delete(gone);
        return arpPacketBytes;
      };
      const { others, unsent } = await announcer.probe([on(kept), on(gone)], purpose, neverAborted);
      const probes = (address: Ip) => fake.sent.filter(({ targetIp }) => targetIp === address).length;
      t.strictSame([kept, gone].map(probes), [2, 1], "the second frame is not sent");
      t.equal(others.size, 0);
      t.strictSame([...unsent], [gone]);
    }
  },
);

t.test("a reply at the end of the window still counts", async (t) => {
  const { fake, announcer } = setUp();
  let sent = 0;
  fake.onSend = ({ targetIp }) => {
    // The answer to the second probe arrives after the wait for it has begun.
    if (++sent === 2) setTimeout(() => fake.inbox.push(encodeArp(announcementsOf(theirs, targetIp)[1])), 1);
    return arpPacketBytes;
  };
  t.strictSame([...(await announcer.probe([on(eip)], "take", neverAborted)).others], [[eip, theirs]]);
});

t.test("disabled or empty probing finds nothing; a link that refuses probes is named", async (t) => {
  const off = setUp({ probeMs: 0 });
  const found = async ({ announcer }: typeof off, ...places: readonly AddressOnLink[]) => {
    const { others, unsent } = await announcer.probe(places, "take", neverAborted);
    return [[...others.keys()], [...unsent]];
  };
  t.strictSame(await found(off, on(eip)), [[], []]);
  t.equal(off.fake.sent.length, 0);
  const some = setUp({
    links: () => [link, { ...link, name: parseInterfaceName("tun0") as InterfaceName, mac: "" }],
  });
  t.strictSame(await found(some), [[], []]);
  const other = ip("203.0.113.11");
  const elsewhere = [on(eip, "gone0" as InterfaceName), on(other, "tun0" as InterfaceName)];
  t.strictSame(await found(some, ...elsewhere), [[], [eip, other]]);
  const { fake, failures } = some;
  fake.onSend = ({ targetIp }) => {
    if (targetIp === other) return -ENETDOWN;
    fake.inbox.push(encodeArp(announcementsOf(theirs, targetIp)[0]));
    return arpPacketBytes;
  };
  t.strictSame(await found(some, on(eip), on(other)), [[eip], [other]], "who answered before is known");
  t.strictSame(failures, ["ENODEV", "ENODEV", "ENETDOWN"]);
  t.equal(fake.open, 0);
});

t.test("packets of other hosts are received once, and only while listening", async (t) => {
  let links = [link, { ...link, index: 8, name: parseInterfaceName("eth0") as InterfaceName, mac: "" }];
  const fakes = new Map<number, FakeLink>();
  const { announcer } = setUp({
    links: () => links,
    openSocket: (index) => {
      const fake = new FakeLink();
      fake.open = 1;
      fakes.set(index, fake);
      return fake;
    },
  });
  const other = ip("203.0.113.11");
  const hear = () =>
    announcer.hear(new Set([net1])).map(({ interface: name, packet }) => {
      t.equal(name, net1);
      return [packet.operation, packet.senderIp, packet.senderMac];
    });
  t.strictSame(hear(), [], "begins to listen");
  t.strictSame([...fakes.keys()], [link.index], "where it is to, and nowhere else");
  const push = (...packets: ArpPacket[]) => fakes.get(link.index)?.inbox.push(...packets.map(encodeArp));
  push(...announcementsOf(theirs, eip), ...announcementsOf(ours, other), probeOf(theirs, other));
  fakes.get(link.index)?.inbox.splice(1, 0, new Uint8Array(3));
  t.strictSame(
    hear(),
    [
      ["request", eip, theirs],
      ["reply", eip, theirs],
      ["request", fromU32(0), theirs],
    ],
    "neither its own, nor what is no packet",
  );
  t.strictSame(hear(), []);

  const first = fakes.get(link.index);
  links = [{ ...link, index: 9 }];
  t.strictSame(hear(), [], "a link that was made anew is another");
  t.strictSame([first?.open, fakes.get(9)?.open], [0, 1]);
  links = [];
  t.strictSame(hear(), []);
  t.equal(fakes.get(9)?.open, 0, "a link that is gone is left");
  links = [link];
  hear();
  await announcer.stop();
  t.equal(fakes.get(link.index)?.open, 0);
  t.strictSame(hear(), [], "and nothing is opened after the end");
});

t.test("a probe ends with its signal and with stop", async (t) => {
  for (const end of ["signal", "stop"] as const) {
    const { fake, announcer } = setUp({ probeMs: 60_000 });
    const abort = new AbortController();
    const probe = announcer.probe([on(eip)], "take", abort.signal);
    const rejected = t.rejects(probe, { name: "AbortError" });
    if (end === "signal") abort.abort();
    else await announcer.stop();
    await rejected;
    t.equal(fake.open, 0);
  }
});

t.test("announcements go out three times in both forms, while the address is owned", async (t) => {
  const lost = ip("203.0.113.66");
  const owned = new Set([eip, lost]);
  const { fake, results, announcer } = setUp({ stillOwned: ({ address }) => owned.has(address) });
  announcer.announce([on(eip), on(lost)]);
  t.equal(fake.sent.length, 0, "the caller is not held up");
  await until("the first round", () => fake.sent.length >= 4);
  owned.delete(lost);
  await until("all rounds", () => fake.sent.length >= 8);
  await nextTurn();
  const [request, reply] = announcementsOf(ours, eip);
  t.strictSame(fake.sent.slice(0, 4), [request, reply, ...announcementsOf(ours, lost)]);
  t.strictSame(fake.sent.slice(4), [request, reply, request, reply]);
  await until("the last count", () => results.sent === 4);
  t.strictSame(results, { sent: 4, withdrawn: 2 });
  await announcer.stop();
  t.equal(fake.open, 0);
});

t.test("whether an EIP is owned is asked before each frame", async (t) => {
  let isOwned = true;
  const { fake, results, announcer } = setUp({ announceAtMs: [0], stillOwned: () => isOwned });
  fake.onSend = () => {
    isOwned = false;
    return arpPacketBytes;
  };
  announcer.announce([on(eip)]);
  await until("the count", () => results.withdrawn === 1);
  t.strictSame(fake.sent, [announcementsOf(ours, eip)[0]]);
  await announcer.stop();
});

t.test("announcing an address again restarts its series", async (t) => {
  const { fake, announcer } = setUp({ announceAtMs: [0, 10] });
  const last = ip("203.0.113.200");
  for (const address of [eip, eip, last]) announcer.announce([on(address)]);
  const countOf = (address: Ip) => fake.sent.filter(({ senderIp }) => senderIp === address).length;
  await until("both rounds of the last call", () => countOf(last) === 4);
  t.equal(countOf(eip), 4);
  await announcer.stop();
});

t.test("thousands of announcements yield to the event loop and wait for a full queue", async (t) => {
  const { fake, announcer } = setUp({ announceAtMs: [0] });
  let refusals = 3;
  let inThisTurn = 0;
  let mostInOneTurn = 0;
  fake.onSend = () => {
    if (fake.sent.length === 1000 && refusals-- > 0) return -EAGAIN;
    if (inThisTurn++ === 0) {
      setImmediate(() => {
        inThisTurn = 0;
      });
    }
    mostInOneTurn = Math.max(mostInOneTurn, inThisTurn);
    return arpPacketBytes;
  };
  announcer.announce(manyAddresses(5000));
  await until("all packets", () => fake.sent.length >= 10_000);
  t.ok(mostInOneTurn <= 512, `${mostInOneTurn} packets in one turn`);
  t.equal(refusals, -1);
  t.equal(new Set(fake.sent.map(({ senderIp }) => senderIp)).size, 5000);
  await announcer.stop();
});

t.test("a link that goes down, or a missing socket, is counted and logged once", async (t) => {
  const lines: string[] = [];
  const log = createLog("info", { version: "test" }, { write: (line) => void lines.push(line) });
  const { fake, failures, results, announcer } = setUp({ log });
  fake.onSend = () => -ENETDOWN;
  announcer.announce(manyAddresses(1000));
  await until("three tries", () => failures.length >= 3);
  await until("the count of all", () => results.failed === 3_000);
  t.strictSame(failures, ["ENETDOWN", "ENETDOWN", "ENETDOWN"], "one a round, not one an address");
  await announcer.stop();
  t.equal(lines.length, 1);
  t.match(lines[0], /"link":"net1","code":"ENETDOWN"/);

  const broken = setUp({
    log,
    openSocket: () => {
      throw new Error("no packet socket");
    },
  });
  broken.announcer.announce([on(eip)]);
  await until("the log line", () => lines.length === 2);
  t.match(lines[1], "no packet socket");
  await broken.announcer.stop();
});

t.test("stop ends what is under way, may be called twice, and nothing goes out after it", async (t) => {
  const { fake, announcer } = setUp({ announceAtMs: [0, 60_000] });
  announcer.announce(manyAddresses(2000));
  await until("a beginning", () => fake.sent.length > 0);
  await announcer.stop();
  const { length } = fake.sent;
  await announcer.stop();
  announcer.announce([on(eip)]);
  await nextTurn();
  t.equal(fake.sent.length, length);
  t.equal(fake.open, 0);
});
