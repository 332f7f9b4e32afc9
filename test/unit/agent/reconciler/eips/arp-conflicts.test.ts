/** Others that claim EIPs which the gateway holds: heard, asked again, given up. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import type { AddressOnLink } from "../../../../../agent/kernel/drivers.ts";
import { ArpConflicts } from "../../../../../agent/reconciler/eips/arp-conflicts.ts";
import type { Ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";

const net1 = "net1" as InterfaceName;
const [one, two, stranger] = ["203.0.113.10", "203.0.113.11", "203.0.113.99"] as [Ipv4, Ipv4, Ipv4];
const [theirs, others] = ["02:00:00:00:00:99", "02:00:00:00:00:98"];

/** A watch on a wire whose stations the test moves. */
function setUp() {
  const wire = {
    nowMs: 0,
    held: new Map([one, two].map((address) => [address, { interface: net1, address }])),
    heard: new Map<Ipv4, string>(),
    answering: new Map<Ipv4, string>(),
    failure: undefined as Error | undefined,
    asked: [] as Ipv4[][],
    announced: [] as Ipv4[],
    warnings: [] as unknown[],
    changes: 0,
  };
  const watch = new ArpConflicts({
    announcer: {
      hear: (links) => {
        if (wire.failure !== undefined) throw wire.failure;
        return links.has(net1) ? new Map(wire.heard) : new Map();
      },
      probe: async (places: readonly AddressOnLink[]) => {
        wire.asked.push(places.map(({ address }) => address));
        await nextTurn();
        if (wire.failure !== undefined) throw wire.failure;
        return new Map(
          [...wire.answering].filter(([address]) => places.some((one) => one.address === address)),
        );
      },
      announce: (places) => wire.announced.push(...places.map(({ address }) => address)),
    },
    held: () => wire.held,
    nowMs: () => wire.nowMs,
    onChange: () => wire.changes++,
    log: { warn: (about: unknown) => wire.warnings.push(about) } as never,
  });
  /** Looks at that time, and lets the answers come in. */
  const lookAt = async (nowMs: number) => {
    wire.nowMs = nowMs;
    watch.look();
    await nextTurn();
    await nextTurn();
    return [...watch.conflicts];
  };
  return { wire, watch, lookAt };
}

t.test("a claim is told once and stands until nobody answers; then the EIP is announced anew", async (t) => {
  const { wire, watch, lookAt } = setUp();
  t.strictSame(await lookAt(0), []);
  wire.heard.set(one, theirs).set(stranger, theirs);
  t.strictSame(await lookAt(1_000), [[one, theirs]], "of an EIP that is held, and of nothing else");
  const { conflicts } = watch;
  for (const nowMs of [2_000, 9_000, 10_999]) await lookAt(nowMs);
  t.equal(watch.conflicts, conflicts, "heard again and again, it is nothing new");
  t.strictSame([wire.changes, wire.asked.length, wire.warnings.length], [1, 0, 1]);

  wire.heard.clear();
  wire.answering.set(one, theirs);
  t.strictSame(await lookAt(11_000), [[one, theirs]], "silence is no answer: it is asked about");
  t.strictSame(wire.asked, [[one]]);
  await lookAt(12_000);
  t.equal(wire.asked.length, 1, "and not again at once");

  wire.answering.set(one, others);
  t.strictSame(await lookAt(31_000), [[one, others]], "another has it now");
  wire.answering.clear();
  t.strictSame(wire.announced, [], "nothing is announced meanwhile");
  await lookAt(31_001 + 40_000);
  t.strictSame([...watch.conflicts], [], "nobody answers");
  t.strictSame(wire.announced, [one]);
  t.equal(wire.changes, 3);
});

t.test("what was held at the start is asked about; an EIP that goes takes its claim along", async (t) => {
  const { wire, watch, lookAt } = setUp();
  wire.answering.set(two, theirs);
  watch.ask([...wire.held.values()]);
  watch.ask([...wire.held.values()]);
  t.strictSame(await lookAt(0), [[two, theirs]]);
  t.strictSame(wire.asked, [[one, two]], "once, though asked for twice");
  t.strictSame(wire.announced, [], "what nobody claimed needs no announcement");
  wire.held.delete(two);
  t.strictSame(await lookAt(1_000), []);
  t.equal(wire.changes, 2);
});

t.test("where nobody can be heard or asked, a claim stands and is asked about later", async (t) => {
  const { wire, watch, lookAt } = setUp();
  wire.heard.set(one, theirs);
  await lookAt(0);
  wire.heard.clear();
  wire.failure = new Error("no socket");
  t.strictSame(await lookAt(10_000), [[one, theirs]]);
  await lookAt(11_000);
  t.equal(wire.asked.length, 1);
  wire.failure = undefined;
  await lookAt(30_001);
  t.strictSame([...watch.conflicts], []);
  await watch.stop();
  watch.ask([...wire.held.values()]);
  t.equal(wire.asked.length, 2, "after the end nobody is asked");
});

t.test("without probing there is no watch", async (t) => {
  const watch = new ArpConflicts({
    announcer: undefined,
    held: () => t.fail("nobody is to be looked for") as never,
    nowMs: () => 0,
    onChange: () => t.fail("nothing changes"),
    log: {} as never,
  });
  watch.start();
  watch.look();
  watch.ask([{ interface: net1, address: one }]);
  t.equal(watch.conflicts.size, 0);
  await watch.stop();
});
