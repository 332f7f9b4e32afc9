/** Listening for ARP: on which links, and more often while there is a conflict. */
import { mock } from "node:test";
import t from "tap";
import type { HeardArp } from "../../../../../agent/kernel/drivers.ts";
import { ArpWatch } from "../../../../../agent/reconciler/eips/arp-watch.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import { FakeWire, macOf, onNet1 } from "../../../../support/fake-wire.ts";

t.test("received packets reach both components, from links of held or wanted EIPs", async (t) => {
  const wire = new FakeWire();
  const heard: HeardArp[][] = [[], []];
  const net2 = "net2" as InterfaceName;
  const watch = new ArpWatch({
    announcer: wire,
    arpProbe: { links: new Set([net2]), hear: (one) => void heard[0]?.push(...one) },
    arpConflicts: { conflicts: new Map(), hear: (one) => void heard[1]?.push(...one) },
    arpAnswers: { hear: () => {} },
    held: () => new Map([onNet1("203.0.113.10")].map((place) => [place.address, place])),
    log: {} as never,
  });
  wire.claim("203.0.113.10", macOf(1), net2);
  watch.poll();
  t.strictSame([...wire.listenedOn], ["net1", "net2"]);
  t.strictSame(
    heard.map((each) => each.map(({ interface: link, packet }) => [link, packet.senderIp])),
    [0, 1].map(() => [
      ["net2", "203.0.113.10"],
      ["net2", "203.0.113.10"],
    ]),
  );
});

t.test(
  "by its own timer: once a second, five times while there is a conflict or many packets arrive",
  async (t) => {
    mock.timers.enable({ apis: ["setTimeout"] });
    t.teardown(() => mock.timers.reset());
    const wire = new FakeWire();
    let looks = 0;
    const conflicts = new Map();
    const watch = new ArpWatch({
      announcer: wire,
      arpProbe: { links: new Set(), hear: () => looks++ },
      arpConflicts: { conflicts, hear: () => {} },
      arpAnswers: { hear: () => {} },
      held: () => new Map([onNet1("203.0.113.10")].map((place) => [place.address, place])),
      log: {} as never,
    });
    const looksIn = (ms: number) => {
      looks = 0;
      for (let passed = 0; passed < ms; passed += 100) mock.timers.tick(100);
      return looks;
    };
    watch.start();
    t.equal(looksIn(3_000), 3);
    conflicts.set("203.0.113.10", macOf(1));
    t.equal(looksIn(1_000), 1, "it finds out");
    t.equal(looksIn(3_000), 15);
    conflicts.clear();
    looksIn(200);
    t.equal(looksIn(3_000), 3);
    for (let number = 0; number < 600; number++) wire.claim("203.0.113.10", macOf(number));
    looksIn(1_000);
    t.equal(looksIn(200), 1);
    watch.stop();
    watch.stop();
    t.equal(looksIn(5_000), 0);
  },
);
