import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { openConntrack } from "../../../../agent/kernel/conntrack/driver.ts";
import { filtersDumps } from "../../../../agent/kernel/conntrack/dump-filter.ts";
import { readConntrackStats } from "../../../../agent/kernel/conntrack/stats.ts";
import type { NetlinkConnection } from "../../../../agent/kernel/netlink/connection.ts";
import type { NetlinkError } from "../../../../agent/kernel/netlink/refusal.ts";
import { endsAt, hasEndOf } from "../../../../lib/conntrack/ends.ts";
import type { Flow } from "../../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import {
  attributeEnd,
  attributeType,
  bytesAttribute,
  concatBytes,
  nestedAttribute,
  nextAttribute,
  payloadOf,
} from "../../../../lib/netlink/attributes.ts";
import { encodeDelete, encodeDump, encodeDumpOf, isEntry } from "../../../../lib/netlink/ctnetlink.ts";
import { ConntrackEntry } from "../../../../lib/netlink/ctnetlink-entry.ts";
import type { NetlinkMessage } from "../../../../lib/netlink/message.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";

/** Payloads as Linux 6.18 sent them: a TCP flow with DNAT, a ping with DNAT, and TCP flows in zones. */
const recorded = {
  tcp: "02000000340001801400018008000100cb00710a080002000a0000011c00028005000100060000000600020003e8000006000300005000003400028014000180080001000a00000508000200cb00710a1c0002800500010006000000060002001f9000000600030003e800000800030000000008080008000000000008000c00b20eea2d08000b00000000010800070000000063300004802c000180050001000300000005000200000000000500030000000000060004000a000000060005000a0000001c001880080001000000000008000200000000000800030000000000",
  icmp: "020000003c00018014000180080001007f000001080002007f000009240002800500010001000000060004004c150000050005000800000005000600000000003c00028014000180080001007f000001080002007f000001240002800500010001000000060004004c1500000500050000000000050006000000000008000300000001aa080008000000000008000c00a85c4d1308000b0000000001080007000000001d",
  zone: "02000000340001801400018008000100cb00710b080002000a0000011c00028005000100060000000600020003e8000006000300005000003400028014000180080001000a00000108000200cb00710b1c000280050001000600000006000200005000000600030003e8000006001200000500000800030000000008080008000000000008000c00fb016c3508000b00000000010800070000000063300004802c000180050001000300000005000200000000000500030000000000060004000a000000060005000a0000001c001880080001000000000008000200000000000800030000000000",
  originalZone:
    "020000003c0001801400018008000100cb00710c080002000a0000011c00028005000100060000000600020003e80000060003000050000006000300000600003400028014000180080001000a00000108000200cb00710c1c000280050001000600000006000200005000000600030003e800000800030000000008080008000000000008000c00b4698bc008000b00000000010800070000000063300004802c000180050001000300000005000200000000000500030000000000060004000a000000060005000a0000001c001880080001000000000008000200000000000800030000000000",
};
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const NEW = 0x100;
const never = new AbortController().signal;
const unknown = async () => undefined;

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

function over(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** At a byte offset that only a decoder with support for offsets reads correctly. */
function decode(bytes: Uint8Array, entry = new ConntrackEntry(ipv4)): Flow {
  const padded = concatBytes(new Uint8Array(16).fill(0xff), bytes, new Uint8Array(8).fill(0xff));
  entry.decode(over(padded), 16, 16 + bytes.length);
  return entry.toFlow();
}

/** The attributes of a message by type. */
function attributes(payload: Uint8Array): Map<number, Uint8Array> {
  const view = over(payload);
  const found = new Map<number, Uint8Array>();
  for (let at = 4; at < payload.length; at = nextAttribute(view, at, payload.length)) {
    const end = attributeEnd(view, at, payload.length);
    found.set(attributeType(view, at), payload.slice(payloadOf(at), end));
  }
  return found;
}

t.test("decodes what the kernel sent", async (t) => {
  const entry = new ConntrackEntry(ipv4);
  t.strictSame(
    decode(bytesOf(recorded.tcp), entry),
    flow("tcp 203.0.113.10:1000 10.0.0.1:80 | 10.0.0.5:8080 203.0.113.10:1000", {
      status: 8,
      id: 0xb20eea2d,
    }),
  );
  t.equal(entry.view.originalSource, 0xcb00710a, "unsigned");
  t.strictSame(
    decode(bytesOf(recorded.icmp), entry),
    flow("icmp 127.0.0.1 127.0.0.9 | 127.0.0.1 127.0.0.1", {
      status: 426,
      id: 0xa85c4d13,
      icmp: { type: 8, code: 0, id: 19477 },
    }),
    "nothing is left of the entry before",
  );
  t.equal(decode(bytesOf(recorded.zone), entry).zone, 5);
  t.equal(decode(bytesOf(recorded.originalZone), entry).zone, 6);
  const after = decode(bytesOf(recorded.tcp), entry);
  t.equal(after.zone, 0);
  t.notOk(after.icmp);
  t.equal(isEntry(NEW), true);
  t.equal(isEntry(NEW | 2), false);
  t.strictSame(encodeDump(ipv4), { type: 0x101, flags: 0, payload: Uint8Array.of(2, 0, 0, 0) });
});

t.test("an entry cut short is an error, never another flow", async (t) => {
  const whole = bytesOf(recorded.tcp);
  // Up to the end of the id. The decoder checks only the frame of what follows.
  const needed = 4 + 52 + 52 + 8 + 8 + 8;
  for (let length = 4; length < needed; length++) {
    t.throws(() => decode(whole.slice(0, length)), { code: "unreadable" }, `${length} bytes`);
  }
  t.doesNotThrow(() => decode(whole.slice(0, needed)));
  for (const type of [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, 3, CTA_ID]) {
    const parts = [...attributes(whole)].filter(([each]) => each !== type);
    const without = concatBytes(
      whole.slice(0, 4),
      ...parts.map(([each, bytes]) => bytesAttribute(each, bytes)),
    );
    t.throws(() => decode(without), { code: "unreadable" }, `without attribute ${type}`);
  }
  const empty = [nestedAttribute(CTA_TUPLE_ORIG), nestedAttribute(CTA_TUPLE_ORIG, nestedAttribute(1))];
  for (const tuple of empty)
    t.throws(() => decode(concatBytes(whole.slice(0, 4), tuple)), { code: "unreadable" });
});

t.test("a delete names one flow by its original tuple, its zone and its id", async (t) => {
  for (const text of [recorded.tcp, recorded.icmp, recorded.zone]) {
    const sent = attributes(bytesOf(text));
    const { type, flags, payload } = encodeDelete(decode(bytesOf(text)), ipv4);
    t.equal(type, 0x102);
    t.equal(flags, 0);
    t.strictSame([...payload.slice(0, 4)], [2, 0, 0, 0], "IPv4, version 0");
    const asked = attributes(payload);
    t.strictSame([...asked.keys()].slice(0, 1), [CTA_TUPLE_ORIG], "the tuple comes first");
    for (const [key, value] of asked)
      t.strictSame(value, sent.get(key), `attribute ${key} as the kernel has it`);
    t.equal(asked.size, text === recorded.zone ? 3 : 2);
    t.ok(asked.has(CTA_ID));
  }
});

t.test("a delete without a tuple cannot be made", async (t) => {
  const good = decode(bytesOf(recorded.tcp));
  for (const broken of [
    {},
    { ...good, original: undefined },
    { ...good, protocol: 0 },
    { ...good, protocol: undefined },
  ]) {
    t.throws(() => encodeDelete(broken as Flow, ipv4), TypeError);
  }
});

/** A fake connection: returns prepared entries and records the requests. */
function connection(
  runs: readonly (readonly string[])[],
  refuse: (index: number) => string | undefined = () => undefined,
) {
  const asked: NetlinkMessage[] = [];
  const batches: number[] = [];
  const fake: NetlinkConnection = {
    request: () => Promise.reject(new Error("not used")),
    close: () => undefined,
    async dump(message, onMessage, _signal, onRestart) {
      asked.push(message);
      runs.forEach((run, index) => {
        if (index > 0) onRestart?.();
        for (const hex of run) {
          const bytes = bytesOf(hex);
          onMessage(NEW, over(bytes), 0, bytes.length);
          onMessage(NEW | 2, over(bytes), 0, 0);
        }
      });
    },
    async batch(messages, signal) {
      signal.throwIfAborted();
      const first = asked.length;
      asked.push(...messages);
      batches.push(messages.length);
      return messages.map((_, index): NetlinkError | undefined => {
        const code = refuse(first + index);
        return code === undefined ? undefined : { errno: 1, code, message: "words" };
      });
    },
  };
  return { fake, asked, batches };
}

t.test("find", async (t) => {
  const { fake, asked } = connection([[recorded.tcp, recorded.icmp, recorded.tcp, recorded.tcp]]);
  const driver = openConntrack(fake, ipv4, { count: unknown });
  const some = await driver.find((view) => view.protocol === 6, 2, never);
  t.equal(some.total, 3);
  t.strictSame(
    some.flows.map(({ protocol }) => protocol),
    [6, 6],
  );
  t.equal(asked.length, 1);
  t.strictSame(asked[0], encodeDump(ipv4));
  t.strictSame(await driver.find(() => false, 5, never), { flows: [], total: 0 });

  const restarted = connection([[recorded.tcp, recorded.tcp], [recorded.icmp]]);
  const found = await openConntrack(restarted.fake, ipv4, { count: unknown }).find(() => true, 5, never);
  t.equal(found.total, 1, "a dump begun again starts from nothing");
  t.equal(found.flows[0]?.protocol, 1);

  const broken = connection([[recorded.tcp.slice(0, 40)]]);
  await t.rejects(
    openConntrack(broken.fake, ipv4, { count: unknown }).find(() => true, 5, never),
    { code: "unreadable" },
  );
});

t.test("the way of searching depends on the number of entries", async (t) => {
  const ends = endsAt(ip("10.0.0.1"));
  for (const [entries, requests] of [
    [0, []],
    [5_000, [encodeDump(ipv4)]],
    [5_001, ends.map((end) => encodeDumpOf(end, ipv4))],
    [undefined, ends.map((end) => encodeDumpOf(end, ipv4))],
  ] as const) {
    const { fake, asked } = connection([[recorded.tcp]]);
    const driver = openConntrack(fake, ipv4, { canFilter: true, count: async () => entries });
    const { total } = await driver.find(hasEndOf(ends, ipv4), 5, never, ends);
    t.strictSame(asked, requests, `${entries} entries`);
    t.equal(total, entries === 0 ? 0 : 1);
  }
  const { fake, asked } = connection([[recorded.tcp]]);
  const blind = openConntrack(fake, ipv4, {
    canFilter: false,
    count: async () => {
      throw new GatewayError("unreadable", "no number");
    },
  });
  t.equal(
    (await blind.find(hasEndOf(ends, ipv4), 5, never, ends)).total,
    1,
    "a count that fails hides nothing",
  );
  t.strictSame(asked, [encodeDump(ipv4)]);
});

t.test("find by ends: the kernel filters by a few addresses, each flow counts once", async (t) => {
  const ends = [...endsAt(ip("10.0.0.1")), ...endsAt(ip("203.0.113.10"))];
  // A flow that enters by the first address and is seen as the second, and the entries that a kernel without filters
  // would add.
  const given = [recorded.tcp, recorded.icmp];
  const { fake, asked } = connection([given]);
  const found = await openConntrack(fake, ipv4, { count: unknown, canFilter: true }).find(
    hasEndOf(ends, ipv4),
    5,
    never,
    ends,
  );
  t.strictSame(
    asked,
    ends.map((end) => encodeDumpOf(end, ipv4)),
  );
  t.strictSame(
    [found.total, found.flows.map(({ protocol }) => protocol)],
    [1, [6]],
    "though four dumps gave it",
  );

  const two = [...endsAt(ip("10.0.0.1")), ...endsAt(ip("127.0.0.9"))];
  const one = await openConntrack(connection([given]).fake, ipv4, { count: unknown, canFilter: true }).find(
    () => true,
    1,
    never,
    two,
  );
  t.strictSame([one.total, one.flows.length], [2, 1], "each dump for its own, the limit for all");

  for (const [canFilter, which] of [
    [false, ends],
    [true, [...ends, ...endsAt(ip("203.0.113.11"))]],
  ] as const) {
    const whole = connection([given]);
    const seen = await openConntrack(whole.fake, ipv4, { count: unknown, canFilter }).find(
      hasEndOf(which, ipv4),
      5,
      never,
      which,
    );
    t.strictSame(whole.asked, [encodeDump(ipv4)], "all at once where it cannot, and where that is cheaper");
    t.equal(seen.total, 1);
  }
  const none = connection([given]);
  t.strictSame(
    await openConntrack(none.fake, ipv4, { count: unknown, canFilter: true }).find(() => true, 5, never, []),
    { flows: [], total: 0 },
  );
  t.strictSame(none.asked, []);
  const broken = connection([[recorded.tcp.slice(0, 40)]]);
  await t.rejects(
    openConntrack(broken.fake, ipv4, { count: unknown, canFilter: true }).find(
      hasEndOf(ends, ipv4),
      5,
      never,
      ends,
    ),
    {
      code: "unreadable",
    },
  );
});

t.test("kernels whose filters can be relied on", async (t) => {
  const releases = {
    "6.18.44-fc": true,
    "10.0": true,
    "5.16.0-rc1": true,
    "5.15.0-91-generic": false,
    "5.4.0": false,
    "4.19.0-25-amd64": false,
    "3.10": false,
    "": false,
    unknown: false,
  };
  for (const [release, expected] of Object.entries(releases))
    t.equal(filtersDumps(release), expected, release);
});

t.test("remove", async (t) => {
  const flows = Array.from({ length: 1_200 }, (_, index) => flow("tcp 10.0.0.1:1 10.0.0.2:2", { id: index }));
  const gone = connection([], (index) => (index % 10 === 0 ? "ENOENT" : undefined));
  t.strictSame(await openConntrack(gone.fake, ipv4, { count: unknown }).remove(flows, never), {
    removed: 1_080,
  });
  t.strictSame(gone.batches, [500, 500, 200]);
  t.strictSame(
    gone.asked,
    flows.map((flow) => encodeDelete(flow, ipv4)),
  );

  const refused = connection([], (index) => (index === 7 || index === 620 ? "EPERM" : undefined));
  await t.rejects(openConntrack(refused.fake, ipv4, { count: unknown }).remove(flows, never), {
    code: "netlink-failed",
    message: "not deleted: 2 of 1,200 flows, first error: EPERM: words",
    details: { code: "EPERM", refused: 2, removed: 1_198 },
  });
  t.equal(refused.asked.length, 1_200, "one refusal does not hold up the others");

  const none = connection([]);
  t.strictSame(await openConntrack(none.fake, ipv4, { count: unknown }).remove([], never), { removed: 0 });
  t.strictSame(none.batches, []);
  await t.rejects(
    openConntrack(none.fake, ipv4, { count: unknown }).remove(flows, AbortSignal.abort(new Error("stop"))),
    {
      message: "stop",
    },
  );
});

t.test("stats", async (t) => {
  const directory = t.testdir({});
  t.strictSame(await readConntrackStats(never, directory), { count: undefined, max: undefined });
  await writeFile(join(directory, "nf_conntrack_count"), "17\n");
  t.strictSame(await readConntrackStats(never, directory), { count: 17, max: undefined });
  await writeFile(join(directory, "nf_conntrack_max"), "262144\n");
  t.strictSame(await readConntrackStats(never, directory), { count: 17, max: 262144 });
  for (const text of ["", "many\n", "-1\n", "1 2\n", "99999999999999999999\n"]) {
    await writeFile(join(directory, "nf_conntrack_count"), text);
    await t.rejects(readConntrackStats(never, directory), { code: "unreadable" }, JSON.stringify(text));
  }
  await mkdir(join(directory, "sub", "nf_conntrack_count"), { recursive: true });
  await t.rejects(readConntrackStats(never, join(directory, "sub")), { code: "unreadable" }, "a directory");
  await t.rejects(readConntrackStats(AbortSignal.abort(new Error("stop")), directory), { message: "stop" });
});
