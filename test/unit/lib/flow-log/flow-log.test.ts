/** What a record of a flow says, and who had a port according to it. */
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { viewOf } from "../../../../lib/conntrack/flow.ts";
import {
  encodeRecord,
  gapMark,
  markOf,
  type SessionRecord,
  sessionRecord,
} from "../../../../lib/flow-log/records.ts";
import { compileObjects, isTranslated } from "../../../../lib/flow-log/translation.ts";
import { LostEnds, parseLine, type WhoItem, whoIn } from "../../../../lib/flow-log/who.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { concatBytes, nestedAttribute, netU32Attribute } from "../../../../lib/netlink/attributes.ts";
import {
  type Accounting,
  noAccounting,
  readAccounting,
} from "../../../../lib/netlink/ctnetlink-accounting.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../lib/state/state.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";

let creation = 0;
const put = (kind: string, spec: object) =>
  ({ type: "put", kind, object: { spec, revision: 1, creation: ++creation } }) as unknown as StateChange;
const { desired } = reduce(emptyState, [
  put("eip", { name: "a", address: "203.0.113.10/24" }),
  put("eip", { name: "b", address: "203.0.113.11/24" }),
  put("fip", { name: "f", eip: "b", internalIp: "10.0.1.6" }),
  put("snat", { name: "wide", eip: "a", internalCIDR: "10.0.0.0/16" }),
  put("snat", { name: "narrow", eip: "a", internalCIDR: "10.0.1.0/24" }),
  put("dnat", {
    name: "web",
    eip: "a",
    protocol: "tcp",
    externalPort: 80,
    internalIp: "10.0.1.6",
    internalPort: 8080,
  }),
]);
const objectOf = runSync(compileObjects(desired, ipv4));
const at = Date.parse("2026-01-31T12:00:00Z");
const times: Accounting = {
  startMs: at - 60_000,
  stopMs: at,
  original: { packets: 3, bytes: 300 },
  reply: { packets: 2, bytes: 2_000 },
};

function record(text: string, accounting = times, event: "create" | "delete" = "delete") {
  const view = viewOf(flow(text), ipv4);
  return sessionRecord(view, `NAT44 session ${event}`, accounting, at + 50, ipv4, objectOf);
}

const outward = "udp 10.0.1.5:4000 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:2000";
const inward = "tcp 198.51.100.7:5000 203.0.113.10:80 | 10.0.1.6:8080 198.51.100.7:5000";

t.test("a record has both tuples, EIP, object, times and counts", async (t) => {
  t.strictSame(record(outward), {
    time: "2026-01-31T12:00:00.050Z",
    event: "NAT44 session delete",
    natEvent: 5,
    protocol: "udp",
    original: { src: "10.0.1.5", dst: "198.51.100.7", sport: 4000, dport: 53 },
    reply: { src: "198.51.100.7", dst: "203.0.113.10", sport: 53, dport: 2000 },
    source: { eip: "203.0.113.10", eipPort: 2000, object: "snats/narrow" },
    start: "2026-01-31T11:59:00.000Z",
    end: "2026-01-31T12:00:00.000Z",
    packets: { original: 3, reply: 2 },
    bytes: { original: 300, reply: 2_000 },
  });
  const created = record(outward, noAccounting, "create");
  t.match(created, { event: "NAT44 session create", natEvent: 4 });
  for (const key of ["start", "end", "packets", "bytes"]) t.notOk(key in created, `${key} is not known`);
  t.match(record(outward, noAccounting), { end: "2026-01-31T12:00:00.050Z" }, "it ended when the event came");
});

t.test("each side names its object", async (t) => {
  t.match(record(inward), { destination: { eip: "203.0.113.10", eipPort: 80, object: "dnats/web" } });
  t.notOk("source" in record(inward));
  const fipOut = record("tcp 10.0.1.6:1 198.51.100.7:80 | 198.51.100.7:80 203.0.113.11:1");
  t.match(fipOut.source, { eip: "203.0.113.11", object: "fips/f" });
  const fipIn = record("tcp 198.51.100.7:9 203.0.113.11:22 | 10.0.1.6:22 198.51.100.7:9");
  t.match(fipIn.destination, { eip: "203.0.113.11", eipPort: 22, object: "fips/f" });
  const hairpin = record("tcp 10.0.1.5:7 203.0.113.10:80 | 10.0.1.6:8080 203.0.113.10:3000");
  t.match(hairpin, {
    source: { eipPort: 3000, object: "snats/narrow" },
    destination: { object: "dnats/web" },
  });
  t.match(record("udp 10.0.9.5:1 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:9").source, {
    object: "snats/wide",
  });
  const foreign = record("udp 10.9.9.5:1 198.51.100.7:53 | 198.51.100.7:53 203.0.113.99:9").source;
  t.same(foreign, { eip: "203.0.113.99", eipPort: 9 }, "of nobody");
});

t.test("a flow whose port alone changed is not translated", async (t) => {
  const view = viewOf(flow("udp 10.0.1.5:1 198.51.100.7:53 | 198.51.100.7:53 10.0.1.5:2"), ipv4);
  t.notOk(isTranslated(view, "source") || isTranslated(view, "destination"));
});

t.test("of objects that clash the oldest is named", async (t) => {
  const web = { eip: "a", protocol: "tcp", externalPort: 80, internalIp: "10.0.1.6", internalPort: 8080 };
  const clashing = reduce({ ...emptyState, desired }, [
    put("fip", { name: "second", eip: "b", internalIp: "10.0.1.6" }),
    put("snat", { name: "again", eip: "a", internalCIDR: "10.0.1.0/24" }),
    put("dnat", { name: "late", ...web }),
    put("eip", { name: "twin", address: "203.0.113.10/24" }),
    put("snat", { name: "of-twin", eip: "twin", internalCIDR: "10.0.1.5/32" }),
    put("fip", { name: "of-twin", eip: "twin", internalIp: "10.0.1.6" }),
  ]).desired;
  const objectIn = runSync(compileObjects(clashing, ipv4));
  const objects = (text: string) => {
    const view = viewOf(flow(text), ipv4);
    return [objectIn(view, "source"), objectIn(view, "destination")];
  };
  t.equal(objects(outward)[0], "snats/narrow");
  t.equal(objects(inward)[1], "dnats/web");
  const byFip = "tcp 198.51.100.7:5000 203.0.113.11:22 | 10.0.1.6:22 198.51.100.7:5000";
  t.equal(objects(byFip)[1], "fips/f");
});

t.test("who: by port, protocol and time, in both directions", async (t) => {
  const ask = (text: string, query: object = {}, accounting = times) =>
    whoIn(record(text, accounting), {
      eip: ip("203.0.113.10"),
      port: 2000,
      protocol: undefined,
      atMs: undefined,
      ...query,
    });
  t.match(ask(outward), [
    {
      ip: "10.0.1.5",
      port: 4000,
      direction: "outward",
      peer: { ip: "198.51.100.7", port: 53 },
      object: "snats/narrow",
      start: "2026-01-31T11:59:00.000Z",
      end: "2026-01-31T12:00:00.000Z",
    },
  ]);
  t.match(ask(inward, { port: 80 }), [
    { ip: "10.0.1.6", port: 8080, direction: "inward", peer: { ip: "198.51.100.7", port: 5000 } },
  ]);
  const itself = "tcp 10.0.1.5:7 203.0.113.10:80 | 10.0.1.6:8080 203.0.113.10:80";
  t.same(
    ask(itself, { port: 80 }).map(({ direction }) => direction),
    ["outward", "inward"],
  );
  for (const query of [{ port: 2001 }, { eip: ip("203.0.113.11") }, { protocol: "tcp" }])
    t.same(ask(outward, query), [], JSON.stringify(query));
  t.equal(ask(outward, { protocol: "udp" }).length, 1);
  const when = (atMs: number, accounting = times) => ask(outward, { atMs }, accounting).length;
  t.same(
    [at - 60_001, at - 60_000, at - 1, at, at + 1].map((ms) => when(ms)),
    [0, 1, 1, 1, 0],
  );
  t.equal(when(at - 100_000, noAccounting), 1, "without a start it may have been there");
  t.equal(when(at + 51, noAccounting), 0);
});

t.test("flows whose end was lost", async (t) => {
  const query = { eip: ip("203.0.113.10"), port: 2000, protocol: undefined };
  const [begin, end] = [record(outward, noAccounting, "create"), record(outward, times)];
  const other = record("udp 10.0.1.5:4001 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:2000", times);
  const madeMs = Date.parse(begin.time);
  const lost = (
    atMs: number | undefined,
    records: readonly SessionRecord[],
    living: readonly WhoItem[] = [],
  ) => {
    const ends = new LostEnds({ ...query, atMs });
    for (const one of records) ends.add(one);
    return ends.items(living);
  };
  const item = { ip: "10.0.1.5", port: 4000, start: begin.time, end: null, endLost: true };
  t.match(lost(madeMs, [begin, other]), [item]);
  t.match(lost(undefined, [begin, other]), [item]);
  t.same(lost(madeMs - 1, [begin]), [], "not begun yet");
  t.same(lost(madeMs, [begin, end]), []);
  t.same(lost(madeMs, [end]), []);
  const later = { ...begin, time: new Date(madeMs + 1_000).toISOString() };
  const laterEnd = { ...end, start: later.time };
  t.match(lost(madeMs, [begin, later, laterEnd]), [item], "another flow with the same ports");
  t.match(lost(madeMs + 1_000, [begin, later, laterEnd]), []);
  t.same(lost(madeMs, [begin], lost(madeMs, [begin])), [], "it lives");

  const many = Array.from({ length: 10_001 }, (_, sport) => ({
    ...begin,
    original: { ...begin.original, sport },
  }));
  const kept = lost(madeMs, many).map(({ original }) => original.sport);
  t.same([kept.length, kept[0], kept.at(-1)], [10_000, 1, 10_000], "the oldest ones are forgotten");
});

t.test("lines are found by their marks, and torn ones are nothing", async (t) => {
  const line = encodeRecord(record(outward));
  t.ok(line.endsWith("}\n") && line.includes(markOf(ip("203.0.113.10"), 2000)));
  t.same(parseLine(line), record(outward));
  t.equal(parseLine(line.slice(0, 80)), undefined);
  const begin = record(outward, times, "create");
  t.same(parseLine(encodeRecord(begin)), begin);
  t.equal(parseLine(line.replace("session delete", "session renew")), undefined);
  const gap = { time: "2026-01-31T12:00:00.000Z", event: "log gap", reason: "overrun", records: 7 } as const;
  t.ok(encodeRecord(gap).includes(gapMark));
  t.same(parseLine(encodeRecord(gap)), gap);
  t.equal(parseLine('{"time":"x","event":"log gap","reason":"none"}'), undefined);
  t.equal(parseLine("null"), undefined);
});

t.test("the kernel's counters and times", async (t) => {
  const u64 = (type: number, value: bigint) => {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, 12, true);
    view.setUint16(2, type, true);
    view.setBigUint64(4, value);
    return bytes;
  };
  const payload = concatBytes(
    ipv4.netfilterHeader,
    netU32Attribute(3, 8),
    nestedAttribute(9, u64(1, 3n), u64(2, 5_000_000_000n)),
    nestedAttribute(10, u64(1, 1n), u64(2, 60n)),
    nestedAttribute(20, u64(1, 1_769_860_800_123_456_789n), u64(2, 1_769_860_801_000_000_000n)),
  );
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  t.strictSame(readAccounting(view, 0, payload.length), {
    startMs: 1_769_860_800_123,
    stopMs: 1_769_860_801_000,
    original: { packets: 3, bytes: 5_000_000_000 },
    reply: { packets: 1, bytes: 60 },
  });
  t.strictSame(readAccounting(view, 0, 12), noAccounting);
  t.throws(() => readAccounting(view, 0, 20), { code: "unreadable" });
});
