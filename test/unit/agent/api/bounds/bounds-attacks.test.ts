/** Many hostile clients: memory stays bounded, probes are answered, and other clients are served. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { NetConnectOpts, Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import type { ApiSettings } from "../../../../../agent/api/deps.ts";
import { ask, open, readAnswer, requestText } from "../../../../support/raw-http.ts";
import { until } from "../../../../support/run.ts";

const program =
  process.env.NATGW_TEST_API_SERVER ??
  fileURLToPath(new URL("../../../../support/api-server.ts", import.meta.url));
const mostKib = 600 * 1024;
/** How a complete answer in chunks ends. */
const lastChunk = "0\r\n\r\n";
/** Sooner than Node closes a connection that sends no request. */
const soonMs = 4_000;

interface Target {
  readonly unix: NetConnectOpts;
  readonly tcp: NetConnectOpts;
  /** The maximum resident memory so far. */
  peakKib(): number;
  signal(name: NodeJS.Signals): void;
}

async function serve(t: Test, objects: number, settings: Partial<ApiSettings> = {}): Promise<Target> {
  const all = { listen: [{ host: "127.0.0.1", port: 0 }], rateLimit: { max: 1_000_000, windowMs: 10_000 } };
  const child = spawn(process.execPath, [program, String(objects), JSON.stringify({ ...all, ...settings })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  });
  const [line] = await once(child.stdout, "data");
  const [path, tcp = ""] = JSON.parse(String(line));
  const [host, port] = tcp.split(":");
  return {
    unix: { path },
    tcp: { host, port: Number(port) },
    peakKib: () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]),
    signal: (name) => child.kill(name),
  };
}

/**
 * Connections that send `text` and read nothing. Without a text they are silent and only notice their end. They end
 * with the test.
 */
async function crowd(t: Test, where: NetConnectOpts, count: number, text = ""): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let one = 0; one < count; one++) {
    const socket = await open(where);
    socket.on("error", () => undefined);
    if (text === "") socket.resume();
    else socket.pause().write(text);
    sockets.push(socket);
  }
  return sockets;
}

/** The last bytes of an answer, once it is complete or its connection is closed. */
async function endOf(socket: Socket): Promise<string> {
  let end = "";
  socket.on("data", (piece: Buffer) => {
    end = (end + piece.toString("latin1")).slice(-lastChunk.length);
  });
  socket.resume();
  await until("the answer to end", () => end === lastChunk || socket.destroyed);
  return end;
}

/** Sends requests on new connections, one after the other. */
async function probes(t: Test, target: Target, what: string): Promise<void> {
  for (let time = 0; time < 4; time++) {
    for (const where of [target.unix, target.tcp]) {
      for (const path of ["/livez", "/readyz", "/metrics"]) {
        const { status } = await ask(where, "GET", path).catch(() => ({ status: "none" }));
        if (status !== 200) t.fail(`${what}: ${path} answers ${status}`);
      }
    }
    await delay(20);
  }
}

t.test("clients that ask for long lists and never read", async (t) => {
  const target = await serve(t, 12_000, { places: { maxIdleMs: 50, waitMs: 60_000 } });
  const first = await crowd(t, target.unix, 100, requestText("GET", "/v1/eips"));
  await crowd(t, target.tcp, 100, requestText("GET", "/v1/eips"));
  const reader = ask(target.unix, "GET", "/v1/eips");
  await probes(t, target, "beside them");
  const { status, body } = await reader;
  t.equal(status, 200);
  t.equal(JSON.parse(body.toString()).items.length, 12_000, "whoever reads gets all of it");
  t.ok(target.peakKib() < mostKib, `${target.peakKib()} KiB`);
  const ends = await Promise.all(first.slice(0, 10).map((socket) => endOf(socket)));
  t.notOk(ends.includes(lastChunk), "the answers that nobody read gave way to those who came later");
});

t.test("bodies of 60 MiB at once", async (t) => {
  const target = await serve(t, 0, { bodies: { waitMs: 2_000 } });
  // Texts as long as may be.
  const pad = Buffer.from(`"${"x".repeat(32_765)}",`.repeat(32));
  const head = requestText("PUT", "/v1/eips/eip-a", [
    "content-type: application/json",
    `content-length: ${60 * pad.length + 12}`,
    "connection: close",
  ]);
  const sent = Array.from({ length: 12 }, async () => {
    const socket = await open(target.unix);
    socket.on("error", () => undefined);
    const answer = readAnswer(socket);
    answer.catch(() => undefined);
    socket.write(`${head}{"pad":[`);
    for (let piece = 0; piece < 60 && socket.writable; piece++)
      await new Promise((resolve) => socket.write(pad, resolve));
    socket.write('""]}');
    const { status } = await answer;
    return status;
  });
  const all = Promise.allSettled(sent);
  await probes(t, target, "beside them");
  const statuses = (await all).map((each) => (each.status === "fulfilled" ? each.value : "cut"));
  t.ok(statuses.includes(422), `${statuses}: some are read to the end`);
  t.ok(target.peakKib() < mostKib, `${target.peakKib()} KiB`);
});

t.test("bodies of millions of values at once", async (t) => {
  const target = await serve(t, 0, { bodies: { waitMs: 2_000 } });
  const list = `[${"{},".repeat(170_000)}{}]`;
  const body = `{"eips":[${Array.from({ length: 3 }, () => list).join()}]}`;
  const head = requestText("PUT", "/v1/desired", [
    "content-type: application/json",
    `content-length: ${body.length}`,
    "connection: close",
  ]);
  const all = Promise.allSettled(
    Array.from({ length: 20 }, async () => {
      const socket = await open(target.unix);
      socket.write(head + body);
      return (await readAnswer(socket)).status;
    }),
  );
  await probes(t, target, "beside them");
  const statuses = (await all).map((each) => (each.status === "fulfilled" ? each.value : "cut"));
  t.ok(statuses.includes(422), `${statuses}: some are parsed`);
  t.ok(target.peakKib() < mostKib, `${target.peakKib()} KiB`);
});

t.test("idle connections", async (t) => {
  const target = await serve(t, 10);
  for (const where of [target.unix, target.tcp]) {
    const sockets = await crowd(t, where, 1_200);
    await probes(t, target, "beside them");
    t.equal((await ask(where, "GET", "/v1/eips")).status, 200, "whoever comes newly is served");
    await until("the oldest to be closed", () => sockets[0]?.destroyed, soonMs);
    t.equal((await ask(where, "GET", "/v1/eips")).status, 200);
  }
  const kept = await open(target.unix);
  kept.write(requestText("GET", "/livez"));
  await once(kept, "data");
  kept.write(requestText("GET", "/livez", ["connection: close"]));
  t.equal((await readAnswer(kept)).status, 200, "a connection is good for several requests");
});

t.test("a new connection does not give way before its request may be there", async (t) => {
  const target = await serve(t, 10, { connections: { most: 40, newMs: 60_000 } });
  for (const where of [target.unix, target.tcp]) {
    const late = await open(where);
    const others = await crowd(t, where, 50);
    late.write(requestText("GET", "/livez", ["connection: close"]));
    t.equal((await readAnswer(late)).status, 200);
    await crowd(t, where, 60);
    await until("the first to be closed", () => others[0]?.destroyed);
    t.equal((await ask(where, "GET", "/v1/eips")).status, 200);
  }
});

t.test("thousands who connect while nobody accepts turn nobody away", async (t) => {
  const target = await serve(t, 10);
  for (const where of [target.unix, target.tcp]) {
    target.signal("SIGSTOP");
    await crowd(t, where, 3_000);
    const last = await open(where);
    last.write(requestText("GET", "/livez", ["connection: close"]));
    target.signal("SIGCONT");
    t.equal((await readAnswer(last)).status, 200);
  }
});

t.test(
  "all connections are busy: the reserve is for probes, until connections without progress are closed",
  async (t) => {
    const target = await serve(t, 2_000, {
      connections: { most: 20, reserved: 4, stallMs: 3_000 },
      places: { most: 40, maxIdleMs: 60_000 },
    });
    const head = ["content-type: application/json", "content-length: 1000", "expect: 100-continue"];
    const sockets = [
      ...(await crowd(t, target.unix, 10, requestText("GET", "/v1/eips"))),
      ...(await crowd(t, target.tcp, 10, `${requestText("PUT", "/v1/eips/eip-a", head)}{`)),
    ];
    await Promise.all(sockets.map((socket) => once(socket, "readable")));
    const refused = await until("no connection to be idle", async () => {
      const answer = await ask(target.unix, "GET", "/v1/eips/eip-1");
      return answer.status === 503 && answer;
    });
    t.match(refused.head, /^retry-after: 1$/im);
    t.match(JSON.parse(refused.body.toString()), { code: "overloaded" });
    await crowd(t, target.unix, 30);
    await probes(t, target, "on what is left");
    for (const socket of sockets.slice(10)) socket.removeAllListeners("readable").resume();
    await until("those that send nothing to be cut", () =>
      sockets.slice(10).every(({ destroyed }) => destroyed),
    );
    await until("the API to serve all again", async () => {
      return (await ask(target.unix, "GET", "/v1/eips/eip-1")).status === 200;
    });
  },
);

t.test("an answer that is read slowly is not ended while it makes progress", async (t) => {
  const target = await serve(t, 4_000, { connections: { stallMs: 600 } });
  const socket = await open(target.unix);
  socket.write(requestText("GET", "/v1/eips", ["connection: close"]));
  let last = "";
  let bytes = 0;
  for await (const piece of socket as AsyncIterable<Buffer>) {
    last = piece.subarray(-5).toString();
    bytes += piece.length;
    if (bytes < 300_000) continue;
    bytes = 0;
    await delay(150);
  }
  t.equal(last, lastChunk, "to its end");
});
