/** Which EIPs answer ARP, by what hosts ask. */
import t, { type Test } from "tap";
import { ArpAnswers } from "../../../../../agent/reconciler/eips/arp-answers.ts";
import { FakeWire, macOf, net1, onNet1 } from "../../../../support/fake-wire.ts";

const eip = "203.0.113.10";
const other = "203.0.113.11";

class Scene {
  readonly wire = new FakeWire();
  nowMs = 0;
  held = [eip, other];
  readonly answers = new ArpAnswers({
    held: () => new Map(this.held.map(onNet1).map((place) => [place.address, place])),
    nowMs: () => this.nowMs,
  });

  /** A host asks, so often, a second apart. */
  ask(times: number, address = eip, host = 1, sender = "203.0.113.50"): void {
    for (let time = 0; time < times; time++) {
      this.wire.seek(address, macOf(host), sender);
      this.pass(1_000);
    }
  }

  pass(ms: number): void {
    this.answers.hear(this.wire.hear(new Set([net1])));
    this.nowMs += ms;
  }

  expect(t: Test, expected: Readonly<Record<string, boolean>>, what: string): void {
    t.same(Object.fromEntries(this.answers.answers), expected, what);
  }
}

t.test("a request that is not repeated was answered", async (t) => {
  const scene = new Scene();
  scene.expect(t, {}, "nobody asked");
  scene.ask(1);
  scene.expect(t, {}, "it may be repeated yet");
  scene.pass(3_000);
  scene.expect(t, { [eip]: true }, "it was not");
  scene.ask(2, other);
  scene.pass(3_000);
  scene.expect(t, { [eip]: true, [other]: true }, "an answer that was lost once");
  scene.pass(300_000);
  scene.expect(t, {}, "it was long ago");
});

t.test("who asks again and again gets no answer", async (t) => {
  const scene = new Scene();
  scene.ask(3);
  scene.expect(t, { [eip]: false }, "three requests");
  scene.ask(1, eip, 2);
  scene.pass(4_000);
  scene.expect(t, { [eip]: false }, "though another host gets one");
  scene.pass(10_000);
  scene.ask(1);
  scene.pass(4_000);
  scene.expect(t, { [eip]: true }, "now it gets one too");
});

t.test("what says nothing about answers", async (t) => {
  const scene = new Scene();
  scene.ask(4, eip, 1, "0.0.0.0");
  scene.ask(4, eip, 1, eip);
  scene.ask(4, "203.0.113.99");
  scene.wire.claim("203.0.113.50", macOf(3));
  scene.pass(5_000);
  scene.expect(t, {}, "probes, announcements, other addresses, replies");
  scene.ask(3);
  scene.held = [other];
  scene.expect(t, {}, "an EIP that is not held any more");
});

t.test("only a bounded number is observed", async (t) => {
  const scene = new Scene();
  for (let host = 0; host < 5_000; host++) scene.wire.seek(eip, macOf(host), "203.0.113.50");
  scene.pass(4_000);
  scene.ask(3, other, 9_999);
  scene.expect(t, { [eip]: true }, "the first ones");
  scene.pass(301_000);
  scene.ask(3, other, 9_999);
  scene.expect(t, { [other]: false }, "later again");
});
