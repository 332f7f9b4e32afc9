/** Clients that shut their side of the connection after the request, as `nc -N` does. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import t, { type Test } from "tap";
import type { ApiSettings } from "../../../../agent/api/deps.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { certificates, hasOpenssl } from "../../../support/certificates.ts";
import { requestText } from "../../../support/raw-http.ts";
import { until } from "../../../support/run.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const body = '{"address":"203.0.113.10/24"}';
const put = (query: string): string =>
  requestText("PUT", `/v1/eips/eip-a${query}`, [
    "content-type: application/json",
    `content-length: ${body.length}`,
  ]) + body;

async function serve(test: Test, settings: Partial<ApiSettings> = {}) {
  const counts: number[] = [];
  const eventReaders = { onCount: (count: number) => void counts.push(count), onCutOff: () => undefined };
  const served = testApi({ listen: [{ host: "127.0.0.1", port: 0 }], ...settings }, { eventReaders });
  test.teardown(() => served.api.close());
  await served.api.listen();
  const port = Number(served.api.addresses[1]?.split(":").at(-1));
  const connections = {
    socket: () => connect({ path: served.socketPath, allowHalfOpen: true }),
    TCP: () => connect({ host: "127.0.0.1", port, allowHalfOpen: true }),
  };
  return { ...served, connections, counts };
}

/** Sends and shuts its side. */
function sent(socket: Socket, text: string) {
  const reply = { text: "", closed: once(socket, "close") };
  socket.setEncoding("latin1").on("error", () => undefined);
  socket.on("data", (piece: string) => {
    reply.text += piece;
  });
  socket.end(text);
  return reply;
}

async function replyTo(socket: Socket, text: string): Promise<string> {
  const reply = sent(socket, text);
  await reply.closed;
  return reply.text;
}

t.test("gets its answer, however late; then the connection ends", async (t) => {
  const { connections, board } = await serve(t);
  for (const [name, open] of Object.entries(connections)) {
    for (const path of ["/livez", "/metrics", "/v1/status", "/v1/desired", "/v1/doctor", "/v1/plan"])
      t.match(await replyTo(open(), requestText("GET", path)), /^HTTP\/1\.1 200 OK/, `${name} ${path}`);
    const list = await replyTo(open(), requestText("GET", "/v1/eips"));
    t.ok(list.endsWith("0\r\n\r\n"), `${name}: the whole of a long answer`);
    t.match(await replyTo(open(), requestText("POST", "/v1/reconcile")), /^HTTP\/1\.1 200 OK/, name);
    const two = await replyTo(open(), requestText("GET", "/v1/desired") + requestText("GET", "/livez"));
    t.match(two, /^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 200 [\s\S]*ok\n$/, `${name}: both answers`);
    const waiting = sent(open(), put("?wait=10s"));
    setTimeout(() => board.finish("timeout"), 100);
    await waiting.closed;
    t.match(waiting.text, /^HTTP\/1\.1 202 /, `${name}: what waits`);
    const half = await replyTo(open(), put("").slice(0, -5));
    t.match(half, /^HTTP\/1\.1 400 [\s\S]*malformed-http/, `${name}: but no request may miss its end`);
    t.equal(await replyTo(open(), ""), "", `${name}: no request`);
  }
});

t.test("is given up if nothing can be sent to it for too long", async (t) => {
  const { connections } = await serve(t, { connections: { stallMs: 120 } });
  for (const open of Object.values(connections)) t.equal(await replyTo(open(), put("?wait=5m")), "");
});

t.test("goes on to get events, until it is gone", async (t) => {
  const { connections, counts, events } = await serve(t);
  for (const [name, open] of Object.entries(connections)) {
    const socket = open();
    const reply = sent(socket, requestText("GET", "/v1/events"));
    await until("it is known to send no more", () => reply.text.split(": heartbeat").length > 2);
    events.report("pass", { converged: true });
    await until("the event", () => reply.text.includes("event: pass"));
    socket.destroy();
    events.report("pass", { converged: true });
    await until("it is gone", () => counts.at(-1) === 0);
    const left = open();
    left.write(requestText("GET", "/v1/events"));
    await once(left, "data");
    left.destroy();
    await until("who leaves not to be counted", () => counts.at(-1) === 0);
    t.equal(counts.at(-1), 0, name);
  }
});

t.test("with TLS", { skip: !hasOpenssl() }, async (t) => {
  const directory = temporaryDirectory("half-closed");
  const { cert: certFile, key: keyFile } = certificates(directory)("server");
  const tls = { certFile, keyFile, clientCaFile: undefined, allowFile: undefined };
  const { connections } = await serve(t, { tls });
  const secure = tlsConnect({ socket: connections.TCP(), rejectUnauthorized: false });
  await once(secure, "secureConnect");
  t.match(await replyTo(secure, requestText("GET", "/metrics")), /^HTTP\/1\.1 200 OK/);
  for (const bytes of ["", "\x16\x03"]) {
    const left = connections.TCP().resume();
    left.on("error", () => undefined).end(bytes);
    const late = setTimeout(() => left.destroy(new Error("late")), 2_000);
    await once(left, "close");
    clearTimeout(late);
    t.not(left.errored?.message, "late", "who leaves before the handshake is gone at once");
  }
});
