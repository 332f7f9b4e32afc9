/** Other hosts that claim held EIPs: only a reply to a probe makes a conflict, and a probe without a reply ends it. */
import fc from "fast-check";
import t from "tap";
import { ArpConflicts, type ClaimResult } from "../../../../../agent/reconciler/eips/arp-conflicts.ts";
import { ArpWatch } from "../../../../../agent/reconciler/eips/arp-watch.ts";
import { ProbeQueue } from "../../../../../agent/reconciler/eips/probe-queue.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import { fromU32 } from "../../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import { answersIn, FakeWire, macOf, net1, onNet1 } from "../../../../support/fake-wire.ts";
import { randomFrom } from "../../../../support/random.ts";

const [one, two, stranger] = ["203.0.113.10", "203.0.113.11", "203.0.113.99"] as [Ip, Ip, Ip];

/** A watch over held EIPs, on a network whose hosts the test controls. */
function setUp(addresses: readonly Ip[] = [one, two], random = () => 0) {
  const wire = new FakeWire();
  const held = new Map(addresses.map((address) => [address, onNet1(address)]));
  const told = { changes: 0, claims: [] as ClaimResult[], lines: [] as [unknown, string][] };
  const log = { warn: (about: unknown, message: string) => told.lines.push([about, message]) } as never;
  const nowMs = () => wire.nowMs;
  const queue = new ProbeQueue({ announcer: wire, nowMs, random, onFailure: () => {} });
  const conflicts = new ArpConflicts({
    announcer: wire,
    queue,
    held: () => held,
    nowMs,
    onChange: () => told.changes++,
    onClaim: (result) => told.claims.push(result),
    log,
  });
  const arpProbe = { links: new Set<InterfaceName>(), hear: () => {} };
  const watch = new ArpWatch({
    announcer: wire,
    arpProbe,
    arpConflicts: conflicts,
    arpAnswers: { hear: () => {} },
    held: () => held,
    log,
  });
  /** Advances the clock of the queue in steps; calls `before` at each. */
  const passUntil = async (untilMs: number, before = () => {}) => {
    for (; wire.nowMs < untilMs; wire.nowMs += 100) {
      before();
      watch.poll();
      queue.sendDue();
      await answersIn();
    }
  };
  return { wire, held, told, conflicts, queue, watch, passUntil };
}

t.test(
  "a claim confirmed by a probe is a conflict until a probe gets no reply; then the EIP is announced",
  async (t) => {
    const { wire, told, conflicts, passUntil } = setUp();
    await passUntil(1_000);
    t.strictSame([wire.frames, [...wire.listenedOn]], [0, [net1]], "it listens and probes nothing");
    wire.holders.set(one, macOf(1)).set(stranger, macOf(1));
    await passUntil(1_100, () => {
      wire.claim(one, macOf(1));
      wire.claim(stranger, macOf(1));
    });
    t.strictSame([...conflicts.conflicts], [[one, macOf(1)]], "an EIP that is held, and nothing else");
    t.strictSame([told.changes, told.claims], [1, ["confirmed"]]);
    t.strictSame(told.lines, [
      [{ address: one, mac: macOf(1), addresses: 1 }, "another host also holds an EIP"],
    ]);
    const before = conflicts.conflicts;
    await passUntil(10_050, () => wire.claim(one, macOf(2)));
    t.equal(conflicts.conflicts, before, "heard again and again, from whomever, it is nothing new");
    t.strictSame(
      wire.probed.map(({ atMs, purpose }) => [atMs, purpose]),
      Array.from({ length: 10 }, (_, index) => [1_000 * (index + 1), "keep"]),
      "it is probed every second, and not more often",
    );

    wire.holders.set(one, macOf(3));
    await passUntil(12_050);
    t.strictSame([...conflicts.conflicts], [[one, macOf(3)]], "another holds it now");
    t.equal(told.changes, 1, "no pass has to run sooner for it");
    t.strictSame(wire.announced, [], "nothing is announced meanwhile");
    wire.holders.delete(one);
    await passUntil(13_050);
    t.strictSame([...conflicts.conflicts], []);
    t.strictSame([wire.announced, told.changes], [[one], 2]);
    const { frames } = wire;
    await passUntil(100_000);
    t.equal(wire.frames, frames, "nobody probes any more");
  },
);

t.test("unconfirmed claims have no effect, from any number of MACs", async (t) => {
  const { wire, told, conflicts, passUntil } = setUp();
  let mac = 0;
  await passUntil(8_050, () => wire.claim(one, macOf(++mac)));
  t.equal(conflicts.conflicts.size, 0);
  t.equal(wire.timesProbed(one), 9, "one probe a second, whoever claims");
  t.strictSame(new Set(told.claims), new Set(["unconfirmed"]));
  t.equal(told.changes, 0);
  t.equal(told.lines.length, 1, "one line a minute");
  t.match(told.lines[0], [
    { address: one, times: 1 },
    "another host claimed this EIP but did not answer a probe",
  ]);

  wire.holders.set(one, macOf(7));
  await passUntil(10_050, () => wire.claim(one, macOf(++mac)));
  t.strictSame([...conflicts.conflicts], [[one, macOf(7)]], "and nothing of it delays the true one");
});

t.test(
  "a flood of claims for thousands of EIPs is probed at a bounded rate and delays no other probe",
  async (t) => {
    const many = Array.from({ length: 3_000 }, (_, number) => fromU32(0xc6120000 + number));
    const { wire, told, conflicts, passUntil } = setUp([one, two, ...many]);
    wire.holders.set(two, macOf(1));
    wire.claim(two, macOf(1));
    let mac = 0;
    const flood = () => {
      for (const address of many) wire.claim(address, macOf(mac++ & 0xffff));
    };
    await passUntil(12_050, flood);
    t.strictSame([...conflicts.conflicts], [[two, macOf(1)]]);
    t.equal(wire.timesProbed(two), 13, "a conflict is probed as without the flood");
    t.ok(wire.frames <= 500 * 12.1, `${wire.frames} queue in 12 s`);

    wire.holders.set(one, macOf(2));
    wire.claim(one, macOf(2));
    await passUntil(12_150, flood);
    t.ok(conflicts.conflicts.has(one), "an EIP that was not probed goes first");
    wire.holders.delete(two);
    await passUntil(13_150, flood);
    t.notOk(conflicts.conflicts.has(two), "and what ended is seen");
    t.ok(told.lines.length <= 3);
  },
);

t.test("no conflict from other links, own packets or silence; probing hosts are probed seldom", async (t) => {
  const { wire, told, conflicts, passUntil } = setUp();
  wire.holders.set(one, macOf(1));
  const eth0 = "eth0" as InterfaceName;
  wire.claim(one, macOf(1), eth0);
  conflicts.hear([
    {
      interface: eth0,
      packet: {
        operation: "reply",
        senderMac: macOf(1),
        senderIp: one,
        targetMac: macOf(9),
        targetIp: two,
      },
    },
  ]);
  wire.seek(one, macOf(2), stranger);
  await passUntil(1_000);
  t.equal(wire.frames, 0);

  // A gateway that waits for the EIP probes every second. So does one that holds the EIP too and was never heard to
  // claim it.
  wire.holders.delete(one);
  await passUntil(50_000, () => wire.seek(one, macOf(2)));
  t.equal(wire.timesProbed(one), 1);
  t.strictSame([conflicts.conflicts.size, told.claims, told.lines], [0, [], []], "a probe claims nothing");
  wire.holders.set(one, macOf(2));
  await passUntil(62_000, () => wire.seek(one, macOf(2)));
  t.strictSame([...conflicts.conflicts], [[one, macOf(2)]]);
  t.strictSame(told.claims, []);
});

t.test("probes run at once: at start, and for an API call", async (t) => {
  const { wire, held, told, conflicts, passUntil } = setUp();
  wire.holders.set(two, macOf(1));
  conflicts.probe([...held.values()]);
  await answersIn();
  t.strictSame([...conflicts.conflicts], [[two, macOf(1)]]);
  t.strictSame([wire.frames, wire.announced], [2, []]);
  await conflicts.probeNow(new Set([one]));
  t.equal(wire.frames, 2, "it is in no conflict");
  wire.nowMs = 5 * 3_600_000;
  await passUntil(wire.nowMs + 100);
  wire.holders.clear();
  const freed = conflicts.probeNow();
  await passUntil(wire.nowMs + 200);
  await freed;
  t.notOk(conflicts.conflicts.has(two));
  t.strictSame([conflicts.conflicts.size, wire.announced, told.changes], [0, [two], 2]);

  // A further probe also ends a conflict.
  wire.holders.set(one, macOf(1));
  conflicts.probe([onNet1(one)]);
  await answersIn();
  wire.holders.clear();
  conflicts.probe([onNet1(one), onNet1(two)]);
  await answersIn();
  t.equal(conflicts.conflicts.size, 0);
  const { frames } = wire;
  await passUntil(wire.nowMs + 10_000);
  t.equal(wire.frames, frames, "and nothing is probed for no reason");
});

t.test("removing an EIP or moving it to another link ends its conflict", async (t) => {
  const { wire, held, told, conflicts, passUntil } = setUp();
  wire.holders.set(one, macOf(1)).set(two, macOf(1));
  conflicts.probe([...held.values()]);
  await passUntil(100);
  held.delete(one);
  held.set(two, { interface: "net2" as InterfaceName, address: two });
  await passUntil(200);
  t.equal(conflicts.conflicts.size, 0);
  t.strictSame(wire.announced, [two], "what is held still");
  t.equal(told.changes, 2);
  const { frames } = wire;
  await passUntil(5_000);
  t.equal(wire.frames, frames);
});

t.test("if probing fails a conflict stays, a claim has no effect, and one line is logged", async (t) => {
  const { wire, held, told, conflicts, queue, watch, passUntil } = setUp();
  wire.holders.set(one, macOf(1));
  conflicts.probe([onNet1(one)]);
  wire.claim(two, macOf(2));
  await passUntil(100);
  wire.claim(two, macOf(2));
  wire.isDown = true;
  await passUntil(5_000);
  wire.failure = new Error("no socket");
  conflicts.probe([onNet1(one)]);
  await passUntil(10_000);
  t.strictSame([...conflicts.conflicts], [[one, macOf(1)]]);
  t.strictSame(told.lines.map(([, message]) => message).sort(), [
    "another host also holds an EIP",
    "another host claimed this EIP but did not answer a probe",
    "cannot listen to ARP",
    "cannot probe for other holders of EIPs",
  ]);
  wire.failure = undefined;
  wire.isDown = false;
  wire.holders.clear();
  await passUntil(12_000);
  t.equal(conflicts.conflicts.size, 0);

  await queue.stop();
  await conflicts.stop();
  watch.stop();
  const { frames } = wire;
  conflicts.probe([...held.values()]);
  wire.claim(one, macOf(1));
  await passUntil(13_000);
  t.equal(wire.frames, frames, "after the end nothing is probed");

  const mute = new ArpConflicts({
    announcer: undefined,
    queue,
    held: () => t.fail("nobody is to be looked for") as never,
    nowMs: () => 0,
    onChange: () => t.fail("nothing changes"),
    onClaim: () => t.fail("nobody claims"),
    log: {} as never,
  });
  mute.probe([onNet1(one)]);
  t.equal(mute.conflicts.size, 0);
  await mute.stop();
});

t.test("whatever other hosts do, conflicts match the last replies within two seconds", async () => {
  const addresses = Array.from({ length: 4 }, (_, number) => fromU32(0xcb00710a + number));
  const event = fc.record({
    what: fc.constantFrom("claim", "spoof", "hold", "let go", "probe"),
    at: fc.nat(addresses.length - 1),
    mac: fc.integer({ min: 1, max: 3 }),
    pauseMs: fc.constantFrom(0, 100, 700, 3_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 30 }), fc.nat(), async (events, seed) => {
      const { wire, told, conflicts, passUntil } = setUp(addresses, randomFrom(seed));
      for (const { what, at, mac, pauseMs } of events) {
        const address = addresses[at] ?? one;
        const holder = wire.holders.get(address);
        if (what === "hold") wire.holders.set(address, macOf(mac));
        if (what === "let go") wire.holders.delete(address);
        if (what === "claim" || what === "hold") wire.claim(address, holder ?? macOf(mac));
        if (what === "spoof") wire.claim(address, macOf(99));
        if (what === "probe") wire.seek(address, macOf(98));
        await passUntil(wire.nowMs + pauseMs);
        for (const mac of conflicts.conflicts.values())
          if (mac === macOf(99) || mac === macOf(98)) return false;
      }
      for (const address of wire.holders.keys()) wire.claim(address, macOf(99));
      await passUntil(wire.nowMs + 2_000);
      const isTrue = addresses.every(
        (address) => conflicts.conflicts.get(address) === wire.holders.get(address),
      );
      const perSecond = Map.groupBy(
        wire.probed.flatMap(({ atMs, addresses }) =>
          addresses.map((address) => `${address} ${Math.floor(atMs / 1_000)}`),
        ),
        (key) => key,
      );
      return (
        isTrue &&
        (told.changes > 0 || wire.holders.size === 0) &&
        [...perSecond.values()].every((one) => one.length <= 1)
      );
    }),
    { numRuns: 150 },
  );
});
