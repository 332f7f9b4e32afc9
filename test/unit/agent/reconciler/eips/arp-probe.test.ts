/** EIPs to be added: probed once, and if another host holds them until they are free. */
import fc from "fast-check";
import t from "tap";
import { ArpProbe } from "../../../../../agent/reconciler/eips/arp-probe.ts";
import { ProbeQueue } from "../../../../../agent/reconciler/eips/probe-queue.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import { fromU32 } from "../../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import { answersIn, FakeWire, macOf, net1, onNet1 } from "../../../../support/fake-wire.ts";
import { randomFrom } from "../../../../support/random.ts";

const [one, two] = ["203.0.113.10", "203.0.113.11"] as [Ip, Ip];
const both = [one, two].map(onNet1);

function setUp(random = () => 0) {
  const wire = new FakeWire();
  const told = { wakes: 0, failures: 0 };
  const nowMs = () => wire.nowMs;
  const queue = new ProbeQueue({ announcer: wire, nowMs, random, onFailure: () => told.failures++ });
  const arpProbe = new ArpProbe({
    announcer: wire,
    queue,
    nowMs,
    onAnswer: () => told.wakes++,
    onFailure: () => told.failures++,
  });
  /**
   * Reviews like a pass.
   * @returns the addresses that the pass would leave out
   */
  const review = (places = both) => {
    const { probing, addressConflicts } = runSync(arpProbe.review(places));
    return { probing: [...probing], conflicts: [...addressConflicts] };
  };
  const listen = () => arpProbe.hear(wire.hear(arpProbe.links));
  const lookUntil = async (untilMs: number, before = () => {}) => {
    for (; wire.nowMs < untilMs; wire.nowMs += 100) {
      before();
      queue.sendDue();
      await answersIn();
    }
  };
  return { wire, told, arpProbe, queue, review, listen, lookUntil };
}

t.test("an address is probed once, and added if there is no reply", async (t) => {
  const { wire, told, arpProbe, review, lookUntil } = setUp();
  t.notOk(arpProbe.mayAdd(one), "not yet");
  t.strictSame(review(), { probing: [one, two], conflicts: [] });
  t.strictSame(review(), { probing: [one, two], conflicts: [] });
  await answersIn();
  t.strictSame(wire.probed, [{ atMs: 0, addresses: [one, two], purpose: "take" }], "once");
  t.equal(told.wakes, 1);
  t.strictSame(review(), { probing: [], conflicts: [] });
  t.ok(arpProbe.isFree(one));
  t.ok(arpProbe.mayAdd(one));
  await lookUntil(60_000);
  wire.nowMs++;
  t.notOk(arpProbe.mayAdd(one), "that was long ago");
  wire.nowMs--;
  t.equal(wire.probed.length, 1, "nothing needs to be probed again");
  t.equal(arpProbe.conflicts.size, 0);

  t.strictSame(review().probing, []);
  wire.nowMs = 60_001;
  t.strictSame(review().probing, [one, two], "an answer that nobody acted on for a minute is old");
  await answersIn();
  review([]);
  t.notOk(arpProbe.isFree(one));
  t.strictSame(review().probing, [one, two], "what was given up is probed anew");
  await arpProbe.stop();
});

t.test("an address held by another host is left out, and probed until it is free", async (t) => {
  const { wire, told, arpProbe, review, lookUntil } = setUp();
  wire.holders.set(one, macOf(1));
  review();
  await answersIn();
  t.strictSame(review(), { probing: [], conflicts: [[one, macOf(1)]] });
  t.strictSame([...arpProbe.links], [net1]);
  await lookUntil(5_500);
  t.strictSame(
    wire.probed.slice(1),
    [1_000, 2_000, 3_000, 4_000, 5_000].map((atMs) => ({ atMs, addresses: [one], purpose: "take" })),
  );
  t.equal(told.wakes, 1, "a task that changes nothing wakes nobody");
  t.strictSame(review(), { probing: [], conflicts: [[one, macOf(1)]] }, "nor does its object become Pending");

  for (let number = 2; number < 10; number++) {
    wire.holders.set(one, macOf(number));
    await lookUntil(5_500 + (number - 1) * 1_000);
  }
  t.equal(wire.timesProbed(one), 1 + 13, "each new MAC costs nothing");
  t.equal(told.wakes, 1);
  t.strictSame(review().conflicts, [[one, macOf(9)]], "but the next pass says who it is");

  wire.holders.delete(one);
  await lookUntil(15_000);
  t.equal(told.wakes, 2);
  t.strictSame(review(), { probing: [], conflicts: [] });
  t.equal(wire.timesProbed(one), 15);
});

t.test(
  "an EIP is free within a second and a quarter of its release, whatever other conflicts there are",
  async () => {
    const others = Array.from({ length: 300 }, (_, number) => fromU32(0xc6120000 + number));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 110_000 }),
        fc.nat(),
        fc.nat(others.length),
        async (releasedAtMs, seed, count) => {
          const { wire, arpProbe, review, lookUntil } = setUp(randomFrom(seed));
          const occupied = [one, ...others.slice(0, count)];
          for (const address of occupied) wire.holders.set(address, macOf(1));
          const places = occupied.map((address) => onNet1(address));
          review(places);
          await answersIn();
          wire.nowMs = Math.max(0, releasedAtMs - 5_000);
          await lookUntil(releasedAtMs);
          wire.holders.delete(one);
          // The pause after a batch, and the step of this clock.
          await lookUntil(releasedAtMs + 1_450);
          return (
            arpProbe.isFree(one) &&
            places.every(({ address }) => address === one || !arpProbe.isFree(address))
          );
        },
      ),
      { numRuns: 30 },
    );
  },
);

t.test("a write of an EIP probes it at once, however long another host held it", async (t) => {
  const { wire, told, arpProbe, review, lookUntil } = setUp();
  wire.holders.set(one, macOf(1)).set(two, macOf(2));
  review();
  await answersIn();
  for (let hour = 1; hour <= 5; hour++) {
    wire.nowMs = hour * 3_600_000;
    await lookUntil(wire.nowMs + 100);
  }
  const before = wire.timesProbed(one);
  await lookUntil(wire.nowMs + 60_000);
  t.equal(wire.timesProbed(one), before, "after hours it is probed seldom");

  const still = arpProbe.probeNow(new Set([one, "203.0.113.99" as Ip]));
  await lookUntil(wire.nowMs + 300);
  await still;
  t.ok(arpProbe.conflicts.has(one), "it is held still");
  t.strictSame(
    wire.probed.slice(-1).map(({ addresses }) => addresses),
    [[one]],
    "of those that were requested",
  );
  await lookUntil(wire.nowMs + 10_000);
  t.equal(wire.timesProbed(one), before + 11, "and from then on every second again");

  wire.holders.clear();
  const freed = arpProbe.probeNow();
  await lookUntil(wire.nowMs + 300);
  await freed;
  t.notOk(arpProbe.conflicts.has(one) || arpProbe.conflicts.has(two));
  t.ok(arpProbe.isFree(one) && arpProbe.isFree(two), "all of them, where none is named");
  t.equal(told.wakes, 3);
  const { frames } = wire;
  await arpProbe.probeNow(new Set([one]));
  t.equal(wire.frames, frames, "an address in no conflict is not probed");
});

t.test("a probe of the holder triggers a new probe", async (t) => {
  const { wire, arpProbe, review, listen, lookUntil } = setUp();
  wire.holders.set(one, macOf(1));
  review([onNet1(one)]);
  await answersIn();
  wire.nowMs = 5 * 3_600_000;
  await lookUntil(wire.nowMs + 100);
  listen();
  t.strictSame([...wire.listenedOn], [net1]);
  const probesAfter = async (say: () => void) => {
    const before = wire.timesProbed(one);
    say();
    listen();
    await lookUntil(wire.nowMs + 2_000);
    return wire.timesProbed(one) - before;
  };
  t.equal(
    await probesAfter(() => wire.seek(one, macOf(1), "203.0.113.66")),
    1,
    "its holder asks others for it",
  );
  t.equal(await probesAfter(() => wire.seek(one, macOf(1))), 1, "or probes for it");
  t.equal(await probesAfter(() => wire.claim(one, macOf(2))), 1, "or another claims it");
  t.equal(await probesAfter(() => wire.claim(one, macOf(1))), 0, "what the holder claims is known");
  t.equal(await probesAfter(() => wire.seek(one, macOf(3))), 0, "who waits for it as well tells nothing");
  t.equal(
    await probesAfter(() => wire.seek(one, macOf(3), "203.0.113.66")),
    0,
    "nor does who wants to reach it",
  );
  t.equal(await probesAfter(() => wire.claim(two, macOf(2))), 0, "nor what is said of other addresses");
  t.equal(
    await probesAfter(() => {
      arpProbe.hear([
        {
          interface: "eth0" as InterfaceName,
          packet: {
            operation: "request",
            senderMac: macOf(2),
            senderIp: one,
            targetMac: macOf(0),
            targetIp: one,
          },
        },
      ]);
    }),
    0,
    "nor what is said on another link",
  );

  let flooded = 0;
  const before = wire.timesProbed(one);
  await lookUntil(wire.nowMs + 10_000, () => {
    wire.claim(one, macOf(100 + flooded++));
    listen();
  });
  t.equal(wire.timesProbed(one) - before, 10, "and a flood of claims costs one probe a second");
});

t.test("a link that goes down frees no EIP, and failing probes block no EIP", async (t) => {
  const { wire, told, arpProbe, review, lookUntil } = setUp();
  wire.holders.set(one, macOf(1));
  review([onNet1(one)]);
  await answersIn();
  wire.isDown = true;
  await lookUntil(10_000);
  t.strictSame(review([onNet1(one)]).conflicts, [[one, macOf(1)]], "another held it when it was probed last");
  wire.failure = new Error("no socket");
  await lookUntil(20_000);
  t.strictSame(review([onNet1(one)]).conflicts, [[one, macOf(1)]]);
  t.ok(told.failures > 0);
  review();
  await answersIn();
  t.ok(arpProbe.isFree(two), "what was never probed is added");
  wire.failure = undefined;
  wire.isDown = false;
  wire.holders.clear();
  await lookUntil(22_000);
  t.ok(arpProbe.isFree(one));
});

t.test("addresses no longer wanted, or moved to another link, are not probed any more", async (t) => {
  const { wire, told, arpProbe, review, lookUntil } = setUp();
  wire.holders.set(one, macOf(1)).set(two, macOf(1));
  review();
  await answersIn();
  review([onNet1(two)]);
  const elsewhere = { interface: "net2" as InterfaceName, address: two };
  t.strictSame(review([elsewhere]), { probing: [two], conflicts: [] });
  await answersIn();
  review([elsewhere]);
  t.strictSame([...arpProbe.links], ["net2"]);
  review([]);
  const { frames } = wire;
  await lookUntil(10_000);
  t.equal(wire.frames, frames);
  t.equal(arpProbe.conflicts.size, 0);

  wire.holders.clear();
  review();
  t.ok(both.every((place) => arpProbe.isWanted(place)));
  review([elsewhere]);
  t.notOk(both.some((place) => arpProbe.isWanted(place)));
  await answersIn();
  t.notOk(arpProbe.isFree(two), "nothing is known of it on the other link");
  t.strictSame(review([elsewhere]).probing, [two]);
  await answersIn();
  t.ok(arpProbe.isFree(two));
  review([]);

  const wakes = told.wakes;
  review();
  await arpProbe.stop();
  review([onNet1("203.0.113.12")]);
  await answersIn();
  t.equal(told.wakes, wakes, "after the end nobody is told, and nothing probed");
  t.equal(wire.timesProbed("203.0.113.12"), 0);
});

t.test("with probing disabled nothing waits", async (t) => {
  const wire = new FakeWire();
  const queue = new ProbeQueue({
    announcer: wire,
    nowMs: () => 0,
    random: () => 0,
    onFailure: () => {},
  });
  const mute = new ArpProbe({
    announcer: undefined,
    queue,
    nowMs: () => 0,
    onAnswer: () => {},
    onFailure: () => {},
  });
  t.equal(runSync(mute.review(both)).probing.size, 0);
  await mute.probeNow();
  t.equal(mute.conflicts.size, 0);
  t.equal(wire.frames, 0);
});
