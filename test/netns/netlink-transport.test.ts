/**
 * rtnetlink over the `netlink` package on a real kernel: floods, a blocked process, an overrun. If the package aborts,
 * this process and so the test ends.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { close, libcFunction, sendto, socket } from "../../agent/kernel/libc.ts";
import { openAheadSocket } from "../../agent/kernel/netlink/ahead-socket.ts";
import { NETLINK_ROUTE, type NetlinkConnection, openNetlink } from "../../agent/kernel/netlink/connection.ts";
import { exchange } from "../../agent/kernel/netlink/exchange.ts";
import { openPackageSocket } from "../../agent/kernel/netlink/package-socket.ts";
import { openNetlinkSocket } from "../../agent/kernel/netlink/socket.ts";
import { fromU32, ipv4, toU32 } from "../../lib/model/ipv4.ts";
import { encodeMessages, messageFlag, type NetlinkMessage } from "../../lib/netlink/message.ts";
import {
  decodeAddress,
  dumpAddresses,
  encodeAddAddress,
  newAddress,
} from "../../lib/netlink/rtnetlink-addresses.ts";
import { netlinkSockets } from "../support/netlink-sockets.ts";
import { run, until } from "../support/run.ts";

const inside = "NATGW_TEST_UNSHARED";
const signal = new AbortController().signal;
const noop: NetlinkMessage = { type: 1, flags: 0, payload: new Uint8Array(0) };
const flood = Array.from({ length: 10_000 }, (_, index) => 0x0a000001 + index);

function tests(): void {
  const netlink = openNetlink(NETLINK_ROUTE);
  t.teardown(() => netlink.close());
  t.before(async () => {
    await run("ip", [
      "link",
      "add",
      "flood0",
      "index",
      "50",
      "type",
      "veth",
      "peer",
      "flood1",
      "index",
      "51",
    ]);
  });

  t.test("10,000 addresses in batches, the process blocked half way", async (t) => {
    setTimeout(block, 50);
    const errors = await netlink.batch(flood.map(addTo(50)), signal);
    t.equal(errors.length, flood.length);
    t.same(errors.filter(Boolean), []);
    t.same(await held(netlink, 50), flood);
  });

  t.test("10,000 refusals, each with the kernel's words", async (t) => {
    const errors = await netlink.batch(flood.map(addTo(50)), signal);
    t.equal(errors.length, flood.length);
    const words = new Set(errors.map((error) => `${error?.code}: ${error?.message}`));
    t.same([...words], ["EEXIST: ipv4: Address already assigned"]);
  });

  t.test("a dump, the process blocked half way, and another behind it", async (t) => {
    const dumps = [held(netlink, 50, 5_000), held(netlink, 50), held(netlink, 50)];
    for (const addresses of await Promise.all(dumps)) t.same(addresses, flood);
  });

  t.test("dumps while another process changes 5,000 addresses", async (t) => {
    const lines = flood.slice(0, 2_500).map((address) => `${fromU32(address + 0x1000000)}/8 dev flood1\n`);
    const input = [
      ...lines.map((line) => `address add ${line}`),
      // In reverse order: when the first address of a network is removed, the kernel removes the others too.
      ...lines.toReversed().map((line) => `address del ${line}`),
    ].join("");
    let isChanging = true;
    const changes = run("ip", ["-batch", "-"], { input }).finally(() => {
      isChanging = false;
    });
    const outcomes = { whole: 0, interrupted: 0 };
    while (isChanging) {
      const addresses = await held(netlink, 50).catch((error: Error) => error);
      if (addresses instanceof Error) {
        t.match(
          addresses.message,
          /interrupted 5 times/,
          "an inconsistent dump is never taken for a whole one",
        );
        outcomes.interrupted++;
      } else {
        if (!isSame(addresses, flood)) t.same(addresses, flood);
        outcomes.whole++;
      }
    }
    await changes;
    t.comment(outcomes);
    t.same(await held(netlink, 50), flood);
    t.same(await held(netlink, 51), []);
  });

  t.test("an overrun is an error of the exchange, and the next connection works", async (t) => {
    const raw = openPackageSocket(NETLINK_ROUTE);
    if (raw === undefined) throw new Error("no socket");
    t.teardown(() => raw.close());
    // Messages that only request an acknowledgement: the smallest ones, so that the most of them fit into one send.
    const bytes = encodeMessages(Array(15_000).fill(noop), 1, messageFlag.ack);
    let answers = 0;
    const flooded = exchange(raw, bytes, new Uint8Array(65_536), 5_000, signal, () => {
      answers++;
      return false;
    });
    await t.rejects(flooded, { code: "netlink-failed", details: { code: "ENOBUFS" } });
    t.comment(`${answers} answers of 15,000`);
    await netlink.request(noop, signal);
  });

  t.test("errors inside the package are return values", async (t) => {
    const raw = openPackageSocket(NETLINK_ROUTE);
    t.equal(await raw?.send(new Uint8Array(1 << 20)), -90, "EMSGSIZE");
    t.equal(raw?.receive(new Uint8Array(16)), -11, "EAGAIN");
    await raw?.send(encodeMessages([noop], 7, messageFlag.ack));
    await raw?.readable?.();
    t.equal(raw?.receive(new Uint8Array(16)), 36, "an answer longer than the buffer tells its length");
    const sending = raw?.send(encodeMessages([noop], 8, messageFlag.ack));
    const reading = raw?.readable?.();
    raw?.close();
    raw?.close();
    t.equal(await sending, -9, "EBADF: closed under a send");
    await reading;
    t.equal(raw?.receive(new Uint8Array(16)), -9);
    t.equal(await raw?.send(new Uint8Array(16)), -9);
    t.throws(() => openPackageSocket(31), { code: "netlink-failed" });
  });

  t.test("a visitor that throws fails its own dump only", async (t) => {
    const fail = () => {
      throw new RangeError("of the visitor");
    };
    await t.rejects(netlink.dump(dumpAddresses(ipv4), fail, signal), /of the visitor/);
    t.same(await held(netlink, 50), flood);
  });

  t.test("messages of other processes are ignored", async (t) => {
    const connection = openNetlink(NETLINK_ROUTE);
    t.teardown(() => connection.close());
    await connection.request(noop, signal);
    const intruder = socket(16, 3, NETLINK_ROUTE);
    t.teardown(() => close(intruder));
    const garbage = new Uint8Array(20).fill(0xff);
    const ports = netlinkPorts();
    t.ok(ports.length >= 2);
    for (const port of ports) {
      const to = new Uint8Array(Uint32Array.of(16, port, 0).buffer);
      t.equal(sendto(intruder, garbage, garbage.length, 0, to, to.length), garbage.length);
    }
    await connection.request(noop, signal);
    t.same(await held(connection, 50), flood);
  });

  t.test("sockets leave no descriptor behind; without /proc there is none of the package's", async (t) => {
    const before = descriptors();
    for (let round = 0; round < 100; round++) {
      const connection = openNetlink(NETLINK_ROUTE);
      await connection.request(noop, signal);
      connection.close();
      t.equal(openPackageSocket(NETLINK_ROUTE, "/nonexistent"), undefined);
      const unused = openPackageSocket(NETLINK_ROUTE);
      unused?.close();
      t.ok(((await unused?.send(new Uint8Array(16))) ?? 0) < 0, "a closed socket sends nothing");
    }
    t.equal(descriptors(), before);
  });

  t.test("an idle connection does not keep the process alive", async (t) => {
    const module = new URL("../../agent/kernel/netlink/connection.ts", import.meta.url);
    const program = `
      import { openNetlink } from "${module}";
      await openNetlink(0).request({ type: 1, flags: 0, payload: new Uint8Array(0) }, new AbortController().signal);
      console.log("answered");`;
    t.equal(await run(process.execPath, ["--input-type=module", "-e", program], clean), "answered\n");
  });

  t.test("what throws right after an answer can still be handled", async (t) => {
    const module = new URL("../../agent/kernel/netlink/package-socket.ts", import.meta.url);
    const bytes = encodeMessages([noop], 1, messageFlag.ack);
    const program = `
      import { openPackageSocket } from "${module}";
      process.on("uncaughtException", () => { console.log("handled"); process.exit(); });
      const raw = openPackageSocket(0);
      void raw.send(Uint8Array.of(${bytes}));
      await raw.readable();
      process.nextTick(() => { throw new Error(); });`;
    t.equal(await run(process.execPath, ["--input-type=module", "-e", program], clean), "handled\n");
  });

  // If one of these fails, the package was fixed, and package-socket.ts can become simpler.
  t.test("the package alone ends the process", async (t) => {
    const open = `
      const { RawNetlinkSocket } = require("netlink");
      const raw = new RawNetlinkSocket(0, { messagePeeking: false, recvBufferSize: 4096, sendBufferSize: 65536 });
      process.on("uncaughtException", () => process.exit(0));
      raw.on("error", () => process.exit(0));
      const request = Buffer.alloc(16);
      request.writeUInt32LE(16, 0); request.writeUInt16LE(1, 4); request.writeUInt16LE(5, 6);
      setTimeout(() => process.exit(0), 1_000);`;
    const cases = {
      "on an overrun": `raw.send(Buffer.concat(Array(1_000).fill(request)));`,
      "when a listener throws": `raw.on("message", () => { throw new Error(); }); raw.send(request);`,
    };
    for (const [name, what] of Object.entries(cases)) {
      const child = spawn(process.execPath, ["--input-type=commonjs", "-e", open + what], clean);
      t.same(await once(child, "exit"), [null, "SIGABRT"], name);
    }
  });

  t.test("the libc transport gives the same answers", async (t) => {
    const libc = openNetlink(NETLINK_ROUTE, { open: openNetlinkSocket });
    t.teardown(() => libc.close());
    t.same(await held(libc, 50, 5_000), flood);
    const [error] = await libc.batch([addTo(50)(0x0a000001)], signal);
    t.equal(error?.message, "ipv4: Address already assigned");
  });

  t.test("the socket that receives ahead also leaves no descriptor", async (t) => {
    const before = descriptors();
    const ahead = openNetlink(NETLINK_ROUTE, { open: openAheadSocket, partSize: 500 });
    const dumps = [held(ahead, 50, 5_000), held(ahead, 50), held(ahead, 50)];
    for (const addresses of await Promise.all(dumps)) t.same(addresses, flood);
    const errors = await ahead.batch(flood.slice(0, 1_200).map(addTo(50)), signal);
    t.same([...new Set(errors.map((error) => error?.message))], ["ipv4: Address already assigned"]);
    const fail = () => {
      throw new RangeError("of the visitor");
    };
    await t.rejects(ahead.dump(dumpAddresses(ipv4), fail, signal), /of the visitor/);
    t.same(await held(ahead, 50), flood);
    const aborted = new AbortController();
    const stop = () => aborted.abort(new Error("enough"));
    await t.rejects(ahead.dump(dumpAddresses(ipv4), stop, aborted.signal), /enough/);
    const closed = ahead.dump(dumpAddresses(ipv4), () => ahead.close(), signal);
    await t.rejects(closed, { code: "netlink-failed" }, "closed under a running call");
    await t.rejects(held(ahead, 50), /closed/);
    await until("the descriptors to be closed", () => descriptors() === before);
    t.throws(() => openAheadSocket(31), { code: "netlink-failed" });
  });

  t.test("it reports overruns and truncated messages, and accepts only the kernel's messages", async (t) => {
    const known = new Set(readdirSync("/proc/self/fd"));
    const raw = openAheadSocket(NETLINK_ROUTE);
    t.teardown(() => raw.close());
    const fd = Number(readdirSync("/proc/self/fd").find((name) => !known.has(name)));
    t.equal(raw.receive(new Uint8Array(16)), -11, "EAGAIN");
    await raw.send(encodeMessages([noop], 7, messageFlag.ack));
    await raw.readable?.();
    t.equal(raw.receive(new Uint8Array(16)), 36, "an answer longer than the buffer tells its length");
    t.equal(raw.receive(new Uint8Array(16)), -11);

    const intruder = socket(16, 3, NETLINK_ROUTE);
    t.teardown(() => close(intruder));
    const to = new Uint8Array(Uint32Array.of(16, portOf(fd), 0).buffer);
    for (let count = 0; count < 40; count++) t.equal(sendto(intruder, new Uint8Array(20), 20, 0, to, 12), 20);
    await raw.send(encodeMessages([noop], 8, messageFlag.ack));
    const heard: number[] = [];
    for (let round = 0; round < 9; round++) {
      await raw.readable?.();
      for (let length = 0; length !== -11; heard.push(length)) length = raw.receive(new Uint8Array(64));
    }
    t.same(
      heard.filter((length) => length !== -11),
      [36],
    );

    const bytes = encodeMessages(Array(5_000).fill(noop), 1, messageFlag.ack);
    for (let sends = 0; sends < 2; sends++) await raw.send(bytes);
    const flooded = exchange(raw, bytes, new Uint8Array(65_536), 5_000, signal, () => false);
    await t.rejects(flooded, { code: "netlink-failed", details: { code: "ENOBUFS" } });
  });
}

const getsockname = libcFunction<[fd: number, address: Uint8Array, length: Uint8Array]>(
  "int getsockname(int, void *, void *)",
);

function portOf(fd: number): number {
  const address = new Uint32Array(3);
  getsockname(fd, new Uint8Array(address.buffer), Uint8Array.of(12, 0, 0, 0));
  return address[1] ?? 0;
}

/** The addresses of one link in order. The process is blocked after `blockAt` of them were read. */
async function held(netlink: NetlinkConnection, index: number, blockAt?: number): Promise<readonly number[]> {
  const addresses: number[] = [];
  await netlink.dump(
    dumpAddresses(ipv4),
    (type, view, start, end) => {
      if (type !== newAddress) return;
      const decoded = decodeAddress(view, start, end, ipv4);
      if (decoded.index === index) addresses.push(toU32(decoded.address));
      if (addresses.length === blockAt) block();
    },
    signal,
    () => {
      addresses.length = 0;
    },
  );
  return addresses.sort((a, b) => a - b);
}

function block(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500);
}

function addTo(index: number): (address: number) => NetlinkMessage {
  return (address) => encodeAddAddress(index, fromU32(address), 8, ipv4);
}

function isSame(some: readonly number[], others: readonly number[]): boolean {
  return some.length === others.length && some.every((value, index) => value === others[index]);
}

/** The package numbers its ports upwards from 32 << 22, with the pid in the lower 22 bits. */
function netlinkPorts(): readonly number[] {
  return netlinkSockets(readFileSync("/proc/self/net/netlink", "utf8"))
    .filter(({ protocol, port }) => protocol === 0 && (port & 0x3fffff) === process.pid)
    .map(({ port }) => port);
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Without the options that the test runner adds to every Node process. */
const clean = { env: { ...process.env, NODE_OPTIONS: "" } };

if (process.env[inside] === undefined) {
  const command = [process.execPath, ...process.execArgv, import.meta.filename];
  await t.spawn("unshare", ["--net", "--", ...command], {
    env: { ...process.env, [inside]: "1" },
    name: "in a namespace of its own",
  });
} else {
  tests();
}
