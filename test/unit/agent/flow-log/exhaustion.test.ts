/** Ports that run out are recorded when it begins, not at each scan. */
import t from "tap";
import { Exhaustion } from "../../../../agent/flow-log/exhaustion.ts";
import { viewOf } from "../../../../lib/conntrack/flow.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { Census, censusKey } from "../../../../lib/ports/census.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";

const address = ip("203.0.113.10");
const eips = new Map([[censusKey(ipv4, address), { name: "eip-10", address }]]);
const one = viewOf(flow("udp 10.0.1.5:1 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:1024"), ipv4);

function censusOf(live: number): Census {
  const census = new Census(ipv4, eips, 0);
  for (let count = 0; count < live; count++) census.add(one, 0);
  return census;
}

t.test("each threshold once, until it was below", async (t) => {
  const exhaustion = new Exhaustion();
  const events = (live: number) =>
    exhaustion.recordsOf(censusOf(live), "2026-01-01T00:00:00.000Z", ipv4).map(({ event }) => event);
  t.same(events(51_000), []);
  t.same(events(52_000), ["Threshold Reached"]);
  t.same(events(53_000), []);
  t.same(events(63_000), ["NAT ports exhausted"]);
  t.same(events(52_000), []);
  t.same(events(64_512), ["NAT ports exhausted"]);
  t.same(events(10), []);
  t.same(events(64_000), ["Threshold Reached", "NAT ports exhausted"]);
});

t.test("a record names EIP, destination and ports", async (t) => {
  t.strictSame(new Exhaustion().recordsOf(censusOf(52_000), "2026-01-01T00:00:00.000Z", ipv4), [
    {
      time: "2026-01-01T00:00:00.000Z",
      event: "Threshold Reached",
      natEvent: 18,
      protocol: "udp",
      eip: "203.0.113.10",
      object: "eips/eip-10",
      destination: { dst: "198.51.100.7", dport: 53 },
      ports: { live: 52_000, capacity: 64_512 },
    },
  ]);
});
