/** The netlink codecs, and the connection over a scripted socket. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { openNetlink } from "../../../../agent/kernel/netlink/connection.ts";
import type { NetlinkSocket } from "../../../../agent/kernel/netlink/socket.ts";
import { DumpCache } from "../../../../agent/kernel/network/dump-cache.ts";
import { fromU32, ipv4, makeCidr } from "../../../../lib/model/ipv4.ts";
import {
  attributeEnd,
  attributeType,
  bytesAttribute,
  concatBytes,
  flagAttribute,
  nestedAttribute,
  netU16Attribute,
  netU32Attribute,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
  textAttribute,
  u8Attribute,
  u16Attribute,
  u32Attribute,
} from "../../../../lib/netlink/attributes.ts";
import {
  encodeMessages,
  forEachMessage,
  messageFlag,
  parseAcknowledgement,
  parseDone,
} from "../../../../lib/netlink/message.ts";
import {
  decodeAddress,
  decodeAnyAddress,
  encodeAddAddress,
} from "../../../../lib/netlink/rtnetlink-addresses.ts";
import { decodeLink, setDeviceSetting } from "../../../../lib/netlink/rtnetlink-links.ts";
import { type DecodedRoute, decodeRoute, encodeAddRoute } from "../../../../lib/netlink/rtnetlink-routes.ts";

const signal = new AbortController().signal;

t.test("attributes are padded, iterated, and limited by their container", async (t) => {
  const bytes = concatBytes(
    u8Attribute(1, 7),
    u16Attribute(2, 0x1234),
    netU16Attribute(3, 0x1234),
    u32Attribute(4, 0x12345678),
    netU32Attribute(5, 0x12345678),
    textAttribute(6, "net1"),
    flagAttribute(7),
    nestedAttribute(8, u8Attribute(9, 1), bytesAttribute(10, Uint8Array.of(1, 2, 3))),
  );
  const view = viewOf(bytes);
  const found: [type: number, length: number][] = [];
  for (let at = 0; at < bytes.length; at = nextAttribute(view, at, bytes.length)) {
    found.push([attributeType(view, at), attributeEnd(view, at, bytes.length) - payloadOf(at)]);
  }
  const lengths = [1, 2, 2, 4, 4, 5, 0, 16];
  t.same(
    found,
    lengths.map((length, index) => [index + 1, length]),
  );
  t.equal(view.getUint16(8 + 4, true), 0x1234, "host order");
  t.equal(view.getUint16(16 + 4), 0x1234, "network order");
  t.equal(readText(view, 40 + 4, 40 + 9), "net1");
  t.throws(() => attributeEnd(view, 0, 4), { code: "unreadable" }, "longer than what holds it");
  t.throws(() => attributeEnd(view, 0, 3), { code: "unreadable" }, "no room for a header");
  t.throws(() => attributeEnd(viewOf(new Uint8Array(8)), 0, 8), { code: "unreadable" }, "a length of 0");
  t.throws(() => requirePayload(view, 0, bytes.length, 4), { code: "unreadable" });
});

t.test("messages", async (t) => {
  const bytes = encodeMessages(
    [
      { type: 20, flags: 0x400, payload: Uint8Array.of(1, 2, 3, 4, 5) },
      { type: 21, flags: 0, payload: new Uint8Array(4) },
    ],
    0xffffffff,
    messageFlag.ack,
  );
  const seen: number[][] = [];
  forEachMessage(viewOf(bytes), bytes.length, (header, _, start, end) => {
    seen.push([header.type, header.flags, header.sequence, start, end]);
  });
  t.same(seen, [
    [20, 0x405, 0xffffffff, 16, 21],
    [21, 0x005, 0, 40, 44],
  ]);
  t.throws(() => forEachMessage(viewOf(bytes), 40, () => undefined), { code: "unreadable" }, "cut short");
  t.throws(() => forEachMessage(viewOf(bytes), 8, () => undefined), { code: "unreadable" });
});

t.test("acknowledgements carry the kernel's words, after a whole request or its header", async (t) => {
  for (const [flags, payload] of [
    [messageFlag.capped | messageFlag.ackAttributes, 0],
    [messageFlag.ackAttributes, 5],
  ] as const) {
    const bytes = errorPayload(17, payload, "Address already assigned");
    t.same(parseAcknowledgement(viewOf(bytes), flags, 0, bytes.length), {
      errno: 17,
      text: "Address already assigned",
    });
    t.same(parseAcknowledgement(viewOf(bytes), 0, 0, bytes.length), { errno: 17, text: "" });
  }
  t.throws(() => parseAcknowledgement(viewOf(new Uint8Array(8)), 0, 0, 8), { code: "unreadable" });
  const done = concatBytes(i32(-2), textAttribute(1, "FIB table does not exist"));
  t.same(parseDone(viewOf(done), messageFlag.ackAttributes, 0, done.length), {
    errno: 2,
    text: "FIB table does not exist",
  });
  t.same(parseDone(viewOf(new Uint8Array(0)), 0, 0, 0), { errno: 0, text: "" });
});

t.test("rtnetlink: what is encoded is decoded", async (t) => {
  const address = fromU32(0xcb00710a);
  const added = encodeAddAddress(7, address, 24, ipv4).payload;
  t.same(decodeAddress(viewOf(added), 0, added.length, ipv4), {
    index: 7,
    address,
    prefixLength: 24,
    isSecondary: false,
    label: "",
  });
  t.same(decodeAnyAddress(viewOf(added), 0, added.length), { index: 7, address });
  const ipv6 = concatBytes(
    Uint8Array.of(10, 64, 0, 0, 7, 0, 0, 0),
    bytesAttribute(1, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a)),
  );
  t.same(decodeAnyAddress(viewOf(ipv6), 0, ipv6.length), { index: 7, address: "2001:db8:0:0:0:0:0:1a" });
  const route: DecodedRoute = {
    table: 254,
    type: "unicast",
    destination: makeCidr(fromU32(0x0a000000), 8),
    via: fromU32(0x0a000101),
    index: 3,
    protocol: 196,
    metric: 77,
    isOnlink: true,
  };
  const bytes = encodeAddRoute(route, ipv4).payload;
  t.same(decodeRoute(viewOf(bytes), 0, bytes.length, ipv4), route);
  bytes[3] = 8;
  t.equal(decodeRoute(viewOf(bytes), 0, bytes.length, ipv4), undefined, "a route for one type of service");

  const link = concatBytes(
    Uint8Array.of(0, 0, 1, 0, 5, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0),
    textAttribute(3, "net1"),
    bytesAttribute(1, Uint8Array.of(2, 0, 0xab, 0, 0, 1)),
  );
  const decoded = decodeLink(viewOf(link), 0, link.length, ipv4);
  t.same(decoded?.link, { index: 5, name: "net1", mac: "02:00:ab:00:00:01", isUp: true, hasCarrier: true });
  t.equal(decoded?.setting("forwarding"), undefined);
  const odd = concatBytes(new Uint8Array(16), textAttribute(3, "a b"));
  t.equal(decodeLink(viewOf(odd), 0, odd.length, ipv4), undefined);
  const short = concatBytes(
    new Uint8Array(16),
    nestedAttribute(26, nestedAttribute(2, bytesAttribute(1, new Uint8Array(8)))),
  );
  t.throws(() => decodeLink(viewOf(short), 0, short.length, ipv4), { code: "unreadable" });
  t.equal(setDeviceSetting(5, "promote_secondaries", 1, ipv4).payload.length, 16 + 4 + 4 + 4 + 8);
});

t.test("a batch is sent in bounded parts, its last message acknowledged, refusals as values", async (t) => {
  const sent: number[] = [];
  const refused = new Map([
    [151, 17],
    [200, 16],
  ]);
  const netlink = openNetlink(0, {
    open: () =>
      script((sequences, acknowledged) => {
        sent.push(sequences.length);
        const answered = sequences.filter((sequence) => refused.has(sequence) || acknowledged.has(sequence));
        const answers = answered.map((sequence) => error(sequence, refused.get(sequence) ?? 0));
        return [error(4_000_000_000, 5), ...answers];
      }),
  });
  t.same(await netlink.batch([], signal), []);
  const errors = await netlink.batch(
    Array.from({ length: 250 }, () => ping),
    signal,
  );
  t.same(sent, [100, 100, 50]);
  t.same(
    errors.flatMap((error, index) => (error === undefined ? [] : [index, error.code])),
    [150, "EEXIST", 199, "EBUSY"],
  );
  const large = { ...ping, payload: new Uint8Array(30_000) };
  await netlink.batch([large, large, large, ping], signal);
  t.same(sent.slice(3), [2, 2], "no more than fits a send");
});

t.test("batch parts shrink when they block the event loop, down to a limit, and grow again", async (t) => {
  const sent: number[] = [];
  let blockedMs = 0;
  let eachMs = 0.125;
  const netlink = openNetlink(0, {
    open: () => ({
      ...script((sequences, acknowledged) => {
        sent.push(sequences.length);
        blockedMs = sequences.length * eachMs;
        return [...acknowledged].map((sequence) => error(sequence, 0));
      }),
      get blockedMs() {
        return blockedMs;
      },
    }),
  });
  const pings = (count: number) => Array.from({ length: count }, () => ping);
  await netlink.batch(pings(180), signal);
  t.same(sent, [100, 32, 48]);
  eachMs = 1;
  await netlink.batch(pings(120), signal);
  t.same(sent.slice(3), [32, 20, 20, 20, 20, 8]);
  eachMs = 0;
  await netlink.batch(pings(200), signal);
  t.same(sent.slice(9), [20, 40, 80, 60]);
});

t.test("a request that is refused throws the kernel's words and keeps the socket", async (t) => {
  let opened = 0;
  const netlink = openNetlink(0, {
    open: () => {
      opened++;
      return script(([sequence = 0]) => [error(sequence, sequence === 1 ? 19 : 0)]);
    },
  });
  await t.rejects(netlink.request(ping, signal), { code: "netlink-failed", details: { code: "ENODEV" } });
  await netlink.request(ping, signal);
  t.equal(opened, 1);
});

t.test("an incomplete dump throws, and the rest of it reaches no later exchange", async (t) => {
  const cases: Record<string, (sequence: number) => Answer[]> = {
    overrun: () => [-105],
    "cut short": (sequence) => [cutShort(sequence)],
    "lost messages": (sequence) => [header(4, 0, sequence, 4)],
    "error at its end": (sequence) => [concatBytes(header(3, 2, sequence, 4), i32(-12))],
    "error instead": (sequence) => [error(sequence, 1)],
    interrupted: (sequence) => [done(sequence, messageFlag.dumpInterrupted)],
    "no end": () => [],
    malformed: () => [new Uint8Array(20)],
  };
  for (const [name, answer] of Object.entries(cases)) {
    let sockets = 0;
    const closed: boolean[] = [];
    const netlink = openNetlink(0, {
      timeoutMs: 30,
      open: () => {
        const number = sockets++;
        return script(
          ([sequence = 0]) => (number === 0 ? answer(sequence) : [done(sequence)]),
          () => closed.push(true),
        );
      },
    });
    await t.rejects(
      netlink.dump(ping, () => undefined, signal),
      { name: "GatewayError" },
      name,
    );
    t.same(closed, [true], `${name}: the socket is given up`);
    await netlink.dump(ping, () => t.fail(), signal);
    t.equal(sockets, 2);
  }
});

t.test("a dump during which the table changed is read again, a few times", async (t) => {
  let runs = 0;
  const part = (sequence: number, flags: number) => header(20, flags, sequence, 0);
  const netlink = openNetlink(0, {
    open: () =>
      script(([sequence = 0]) => {
        runs++;
        const flags = runs < 3 ? messageFlag.dumpInterrupted : 0;
        return [part(sequence, flags), part(sequence + 1, 0), done(sequence)];
      }),
  });
  let seen = 0;
  await netlink.dump(
    ping,
    () => seen++,
    signal,
    () => {
      seen = 0;
    },
  );
  t.same([runs, seen], [3, 1], "and what another sequence number brings does not count");

  runs = -10;
  await t.rejects(
    netlink.dump(
      ping,
      () => undefined,
      signal,
      () => undefined,
    ),
    /interrupted 5 times/,
  );
});

t.test("waiting ends with the caller's signal, the deadline or the connection", async (t) => {
  const never: NetlinkSocket = {
    send: () => new Promise(() => undefined),
    receive: () => -11,
    close: () => undefined,
  };
  const slow = openNetlink(0, { timeoutMs: 20, open: () => never });
  await t.rejects(slow.request(ping, signal), /no answer within 20 ms/);
  const caller = new AbortController();
  const waiting = slow.request(ping, caller.signal);
  const behind = slow.request(ping, signal);
  caller.abort(new Error("enough"));
  await t.rejects(waiting, /enough/);
  await t.rejects(behind, /no answer/, "the next in the queue has its turn");
  await t.rejects(slow.request(ping, caller.signal), /enough/, "aborted before its turn");

  const silent = openNetlink(0, { open: () => script(() => []) });
  const ending = silent.request(ping, signal);
  setImmediate(() => silent.close());
  await t.rejects(ending, /closed/);
  silent.close();
  await t.rejects(silent.request(ping, signal), /closed/);

  const unreadable = openNetlink(0, {
    timeoutMs: 20,
    open: () => ({
      ...never,
      send: async (bytes) => bytes.length,
      readable: () => new Promise(() => undefined),
    }),
  });
  await t.rejects(unreadable.request(ping, signal), /no answer within 20 ms/, "and nothing to read");

  const refused = openNetlink(0, { open: () => ({ ...never, send: async () => -90 }) });
  await t.rejects(refused.request(ping, signal), { code: "netlink-failed", details: { code: "EMSGSIZE" } });
});

t.test("a repeated message gives the same value as in the last dump", async (t) => {
  const decode = (view: DataView, start: number, end: number) =>
    end - start > 1 ? { number: view.getUint16(start, true) } : undefined;
  // Few messages, so that dumps are often equal as a whole or at their beginning.
  const message = fc.constantFrom("a", "ab", "ac", "abc").map((text) => new TextEncoder().encode(text));
  const dump = fc.record({ messages: fc.array(message, { maxLength: 4 }), isCutShort: fc.boolean() });
  fc.assert(
    fc.property(fc.array(dump, { maxLength: 12 }), (dumps) => {
      const table = new DumpCache(decode);
      let last: { readonly text: string; readonly values: readonly unknown[] } | undefined;
      for (const { messages, isCutShort } of dumps) {
        const view = viewOf(concatBytes(Uint8Array.of(0), ...messages));
        let at = 1;
        table.begin();
        for (const { length } of messages) {
          table.visit(view, at, at + length);
          at += length;
        }
        if (isCutShort) continue;
        const values = table.end();
        assert.deepEqual(
          values,
          messages.flatMap((bytes) => decode(viewOf(bytes), 0, bytes.length) ?? []),
        );
        const text = messages.join();
        if (text === last?.text) assert.equal(values, last.values);
        last = { text, values };
      }
    }),
    { numRuns: 500 },
  );
  t.pass("500 histories");
  const table = new DumpCache(decode);
  const read = (...texts: readonly string[]) => {
    table.begin();
    for (const text of texts) {
      const bytes = new TextEncoder().encode(text);
      table.visit(viewOf(bytes), 0, bytes.length);
    }
    return table.end();
  };
  const [ab, ac, ad] = read("ab", "ac", "ad");
  const isSame = (one: readonly unknown[], ...others: readonly unknown[]) =>
    one.length === others.length && one.every((value, at) => value === others[at]);
  t.ok(isSame(read("ab", "ad"), ab, ad), "behind one that is gone too");
  const [, ae] = read("ab", "ae", "ad");
  t.ok(isSame(read("ab", "ae", "ad"), ab, ae, ad), "and behind one that came");
  t.notOk(isSame(read("ac"), ac));
});

const ping = { type: 20, flags: 0, payload: new Uint8Array(0) };

/** The result of the next receive: bytes (also more than the buffer can hold), or a negative errno. */
type Answer = Uint8Array | number;

/** A socket that answers each send. `answer` makes the replies from the sequence numbers. */
function script(
  answer: (sequences: readonly number[], acknowledged: ReadonlySet<number>) => Answer[],
  onClose = () => {},
): NetlinkSocket {
  const waiting: Answer[] = [];
  let isClosed = false;
  return {
    async send(bytes) {
      const sequences: number[] = [];
      const acknowledged = new Set<number>();
      forEachMessage(viewOf(bytes), bytes.length, ({ sequence, flags }) => {
        sequences.push(sequence);
        if (flags & messageFlag.ack) acknowledged.add(sequence);
      });
      waiting.push(...answer(sequences, acknowledged));
      return bytes.length;
    },
    receive(buffer) {
      if (isClosed) return -9;
      const next = waiting.shift();
      if (next === undefined) return -11;
      if (typeof next === "number") return next;
      buffer.set(next.subarray(0, buffer.length));
      return next.length;
    },
    close() {
      isClosed = true;
      onClose();
    },
  };
}

function header(type: number, flags: number, sequence: number, payloadLength: number): Uint8Array {
  const bytes = new Uint8Array(16 + (type === 3 || type === 2 ? 0 : payloadLength));
  const view = viewOf(bytes);
  view.setUint32(0, 16 + payloadLength, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  return bytes;
}

function error(sequence: number, errno: number): Uint8Array {
  return concatBytes(header(2, messageFlag.capped, sequence, 20), i32(-errno), new Uint8Array(16));
}

function done(sequence: number, flags = 0): Uint8Array {
  return concatBytes(header(3, messageFlag.multi | flags, sequence, 4), i32(0));
}

/** The end of a dump, in a message that is longer than any buffer. */
function cutShort(sequence: number): Uint8Array {
  return concatBytes(header(3, messageFlag.multi, sequence, 69_984), new Uint8Array(69_984));
}

function errorPayload(errno: number, requestPayload: number, text: string): Uint8Array {
  const request = new Uint8Array((16 + requestPayload + 3) & ~3);
  viewOf(request).setUint32(0, 16 + requestPayload, true);
  return concatBytes(i32(-errno), request, u32Attribute(2, 0), textAttribute(1, text));
}

function i32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setInt32(0, value, true);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
