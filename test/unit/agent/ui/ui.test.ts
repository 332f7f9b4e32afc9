/** The pure parts of the status page. test/netns/page.test.ts shows the whole in a browser. */
import fc from "fast-check";
import t from "tap";
import { dataOf, entryOf, objectEntries } from "../../../../agent/ui/news.ts";
import { eipOf, Objects, reasonOf, stateOf, whatOf } from "../../../../agent/ui/objects.ts";
import { largest, rates, readSamples } from "../../../../agent/ui/samples.ts";
import { EventParser } from "../../../../agent/ui/sse.ts";
import { amount, duration, percent, shortDuration } from "../../../../agent/ui/time.ts";
import type { Change, Condition, GatewayObject } from "../../../../agent/ui/types.ts";

const now = "2026-01-01T00:00:00.000Z";

function object(
  kind: string,
  name: string,
  spec: object,
  reason: Condition["reason"] = "Ready",
  message = "",
): GatewayObject {
  const ready = reason === "Ready";
  const status = ready ? "True" : "False";
  return {
    kind,
    name,
    spec: { ...spec },
    revision: 1,
    status: {
      ready,
      observedRevision: 1,
      epoch: "e",
      conditions: [{ type: "Ready", status, reason, message, lastTransitionTime: now }],
    },
  };
}

t.test("durations and amounts", async (t) => {
  t.same([0, 59, 60, 3_600, 7_500, 90_000, -5].map(duration), [
    "0 s",
    "59 s",
    "1 min",
    "1 h",
    "2 h 5 min",
    "1 d 1 h",
    "0 s",
  ]);
  t.same([0.0123, 1.26].map(shortDuration), ["12 ms", "1.3 s"]);
  t.same(
    [0, 999, 1_000, 12_345, 262_144, 1_500_000].map((value) => amount(value)),
    ["0", "999", "1.0 k", "12.3 k", "262 k", "1.5 M"],
  );
  t.equal(amount(2_500_000, "bit/s"), "2.5 Mbit/s");
  t.same([0, 0.004, 0.5, 1].map(percent), ["0 %", "0.4 %", "50 %", "100 %"]);
});

t.test("events are the same in whatever pieces they come", async (t) => {
  const text = [
    ": hello",
    "id: e.1",
    "event: object",
    'data: {"kind":"Fip"}',
    "",
    "id: e.2",
    "event: pass",
    "data: one",
    "data: two",
    "",
    "id: e.3",
    "",
    "data:plain",
    "",
    "",
  ].join("\n");
  const expected = [
    { id: "e.1", type: "object", data: '{"kind":"Fip"}' },
    { id: "e.2", type: "pass", data: "one\ntwo" },
    { id: "e.3", type: "message", data: "plain" },
  ];
  for (const ending of ["\n", "\r\n"]) {
    const whole = text.replaceAll("\n", ending);
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length)), (cuts) => {
        const parser = new EventParser();
        const places = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
        const events = places.flatMap((place, index) => parser.push(whole.slice(place, places[index + 1])));
        t.strictSame(events, expected);
        t.equal(parser.id, "e.3");
      }),
      { numRuns: 50 },
    );
  }
  t.throws(() => new EventParser().push("x".repeat(9 * 1024 * 1024)), /too long/);
});

t.test("samples of the metrics", async (t) => {
  const samples = readSamples(
    [
      "# HELP natgw_conntrack_entries entries",
      "natgw_conntrack_entries 12",
      "natgw_conntrack_max 262144",
      'natgw_eip_port_utilization_ratio{eip="eip-a"} 0.5',
      'natgw_eip_connections{eip="eip-a",protocol="tcp",state="established"} 3',
      'natgw_eip_connections{eip="eip-b",protocol="udp",state="established"} 4',
      'natgw_eip_receive_bytes_total{eip="eip-a"} 1e3',
      'natgw_eip_transmit_bytes_total{eip="eip-a"} 500',
      'natgw_dropped_packets_total{reason="gate",direction="egress"} 7',
      'natgw_other{eip="x"} 1',
    ].join("\n"),
    1,
  );
  t.match(samples, { entries: 12, max: 262_144 });
  t.same([...samples.portRatios], [["eip-a", 0.5]]);
  t.same([...samples.connections], [["established", 7]]);
  t.same([...samples.bytes], [["eip-a", 1_500]]);
  t.same([...samples.drops], [["gate", 7]]);
  t.match(readSamples("", 1), { entries: undefined, max: undefined });
  const [before, after] = [
    new Map(Object.entries({ a: 1, b: 9 })),
    new Map(Object.entries({ a: 11, b: 5, c: 4 })),
  ];
  t.same([...rates(before, after, 5)], [["a", 2]], "new and reset counters have no rate yet");
  t.same([...rates(before, after, 0)], []);
  t.same(largest(new Map(Object.entries({ a: 1, b: 0, c: 3, d: 2 })), 2), [
    { name: "c", value: 3 },
    { name: "d", value: 2 },
  ]);
});

t.test("objects: what is not ready comes first, then by name", async (t) => {
  const objects = new Objects();
  t.equal(objects.countOf("fips"), undefined, "unknown is not none");
  objects.replace("fips", [
    object("Fip", "fip-10", { eip: "eip-a", internalIp: "10.0.1.5" }),
    object("Fip", "fip-9", { eip: "eip-b", internalIp: "10.0.1.6" }),
    object(
      "Fip",
      "fip-11",
      { eip: "eip-a", internalIp: "10.0.1.7" },
      "EipNotFound",
      "eip eip-a does not exist",
    ),
  ]);
  const all = { collection: "all", isOnlyNotReady: false, text: "" } as const;
  const names = (filter: object) => objects.select({ ...all, ...filter }).map(({ name }) => name);
  t.same(names({}), ["fip-11", "fip-9", "fip-10"]);
  t.same(names({ isOnlyNotReady: true }), ["fip-11"]);
  t.same(names({ text: "EIP-A  10.0.1.5" }), ["fip-10"], "all words, in any case");
  t.same(names({ text: "does not exist" }), ["fip-11"]);
  t.same(names({ collection: "eips" }), []);
  t.same(
    objects.usersOf("eip-a").map(({ name }) => name),
    ["fip-10", "fip-11"],
  );
  t.equal(objects.put(object("Fip", "fip-9", {}, "NoRoute")), "not ready");
  t.equal(objects.put(object("Fip", "fip-9", {}, "NoRoute", "other")), "same");
  t.equal(objects.put(object("Fip", "fip-9", {})), "ready");
  t.equal(objects.put(object("Snat", "vpc", {})), "new");
  t.equal(objects.put(object("Fip", "fip-1", {})), "new");
  t.same(names({ collection: "fips" }), ["fip-11", "fip-1", "fip-9", "fip-10"], "new ones in their place");
  t.equal(objects.put(object("Newer", "x", {})), "same", "a kind of a newer agent");
  t.equal(objects.remove("Snat", "vpc"), true);
  t.equal(objects.remove("Snat", "vpc"), false);
  t.equal(objects.get("fips/fip-9")?.name, "fip-9");
  t.equal(objects.get("nothing"), undefined);
});

t.test("an object in words", async (t) => {
  const kinds: readonly [string, object, string][] = [
    ["Eip", { address: "203.0.113.10/24" }, "203.0.113.10/24"],
    ["Eip", { address: "203.0.113.10/24", bound: false }, "203.0.113.10/24, not bound"],
    ["Fip", { eip: "a", internalIp: "10.0.1.5" }, "a ↔ 10.0.1.5"],
    ["Snat", { eip: "a", internalCIDR: "10.0.1.0/24" }, "10.0.1.0/24 → a"],
    [
      "Dnat",
      { eip: "a", protocol: "tcp", externalPort: 80, internalIp: "10.0.1.5", internalPort: 8080 },
      "a tcp/80 → 10.0.1.5:8080",
    ],
    ["Dnat", { eip: "a", protocol: "tcp", externalPort: 80, backends: [{}, {}] }, "a tcp/80 → 2 backends"],
    ["Limit", { eip: "a", direction: "egress", rateMbit: 20 }, "a egress 20 Mbit/s"],
    ["Limit", { interface: "vpc", direction: "egress", rateMbit: 20 }, "vpc egress 20 Mbit/s"],
    ["Route", { destination: "10.8.0.0/16", via: "10.0.1.1" }, "10.8.0.0/16 via 10.0.1.1"],
  ];
  for (const [kind, spec, text] of kinds) t.equal(whatOf(object(kind, "x", spec)), text);
  const faulty = object("Fip", "x", { eip: "a" }, "NoRoute", "no route");
  t.same(reasonOf(faulty), { text: "NoRoute: no route", since: now });
  t.equal(stateOf(faulty), "Not ready");
  t.equal(stateOf({ ...faulty, revision: 2 }), "Pending", "no pass has seen the last write");
  t.equal(eipOf(faulty), "eips/a");
  t.equal(eipOf(object("Route", "x", {})), undefined);
});

t.test("news of events", async (t) => {
  const changes: Change[] = [{ action: "add", subsystem: "rule", text: "-A X" }];
  t.match(entryOf("repair", { total: 30, changes }, now), {
    level: "good",
    text: "Repaired 30 changes",
    total: 30,
  });
  t.match(entryOf("drift", { total: 1, changes, time: "2026-01-02" }, now), {
    at: "2026-01-02",
    text: "Another program made 1 change. To undo:",
  });
  t.equal(entryOf("pass", { changed: 0, failed: 0 }, now), undefined);
  t.match(entryOf("pass", { changed: 2, failed: 1, took: 0.5, reasons: ["write"] }, now), {
    level: "bad",
    text: "2 changes, 1 step failed, 500 ms (write)",
  });
  t.match(entryOf("pass", { error: { code: "mixed-variants" } }, now), {
    level: "bad",
    text: "mixed-variants",
  });
  t.match(entryOf("degraded", { added: ["InterfaceDown"], removed: [] }, now), {
    level: "bad",
    text: "+ InterfaceDown",
  });
  t.match(entryOf("degraded", { added: [], removed: ["Fighting"] }, now), {
    level: "good",
    text: "− Fighting",
  });
  t.match(entryOf("conflict", { name: "eip-a", active: true, message: "02:00" }, now), {
    level: "bad",
    id: "eips/eip-a",
  });
  t.match(entryOf("conflict", { name: "eip-a", active: false }, now), { level: "good" });
  t.match(entryOf("resync", {}, now), { level: "info" });
  t.equal(entryOf("newer", {}, now), undefined, "what a newer agent sends");
  t.equal(dataOf({ id: "", type: "pass", data: "{" }), undefined);
  const changed = Array.from({ length: 6 }, (_, index) => ({
    id: `fips/${index}`,
    transition: "ready" as const,
    why: "",
  }));
  t.match(objectEntries(changed, now), [{ text: "6 ready" }]);
  t.same(objectEntries([{ id: "fips/a", transition: "same", why: "" }], now), []);
  t.match(objectEntries([{ id: "fips/a", transition: "not ready", why: "NoRoute" }], now), [
    { level: "bad", text: "fips/a: not ready, NoRoute", id: "fips/a" },
  ]);
});
