import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import type { Announcer } from "../../../../../agent/kernel/drivers.ts";
import { ArpProbe } from "../../../../../agent/reconciler/eips/arp-probe.ts";
import type { Ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";

const ip = (text: string) => text as Ipv4;

t.test("the probe asks once, leaves out meanwhile, and asks again about conflicts", async (t) => {
  let nowMs = 0;
  const asked: Ipv4[][] = [];
  let answer = Promise.withResolvers<ReadonlyMap<Ipv4, string>>();
  const announcer: Pick<Announcer, "probe"> = {
    probe: (addresses) => {
      asked.push(addresses.map(({ address }) => address));
      return answer.promise;
    },
  };
  let wakes = 0;
  const arpProbe = new ArpProbe({
    announcer,
    nowMs: () => nowMs,
    onAnswer: () => wakes++,
    onFailure: () => {},
  });
  const on = (address: string) => ({ interface: "net1" as InterfaceName, address: ip(address) });
  const two = [on("203.0.113.10"), on("203.0.113.11")];

  t.strictSame([...arpProbe.review(two).probing], ["203.0.113.10", "203.0.113.11"]);
  arpProbe.review(two);
  t.equal(asked.length, 1, "not asked twice");
  answer.resolve(new Map([[ip("203.0.113.11"), "aa:bb:cc:dd:ee:ff"]]));
  await delay(1);
  t.equal(wakes, 1);
  const after = arpProbe.review(two);
  t.equal(after.probing.size, 0);
  t.strictSame([...after.addressConflicts], [["203.0.113.11", "aa:bb:cc:dd:ee:ff"]]);

  answer = Promise.withResolvers();
  nowMs = 10_000;
  t.strictSame([...arpProbe.review(two).probing], ["203.0.113.11"], "asked again when its time has come");
  answer.reject(new Error("no socket"));
  await delay(1);
  t.equal(arpProbe.review(two).probing.size, 0, "where nobody can be asked, nobody holds it");

  arpProbe.review([]);
  answer = Promise.withResolvers();
  answer.resolve(new Map());
  t.equal(arpProbe.review(two).probing.size, 2, "what was given up is asked about anew");
  await arpProbe.stop();

  const mute = new ArpProbe({
    announcer: undefined,
    nowMs: () => 0,
    onAnswer: () => {},
    onFailure: () => {},
  });
  t.equal(mute.review(two).probing.size, 0, "where nobody is to be asked, nothing waits for an answer");
});
