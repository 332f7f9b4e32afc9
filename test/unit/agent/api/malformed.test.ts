import { once } from "node:events";
import { writeFileSync } from "node:fs";
import * as http from "node:http";
import { type AddressInfo, connect, type NetConnectOpts, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import t, { type Test } from "tap";
import { answerMalformed, Underway } from "../../../../agent/api/malformed.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { certificates, hasOpenssl } from "../../../support/certificates.ts";
import { requestText } from "../../../support/raw-http.ts";
import { until } from "../../../support/run.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** What comes back until the agent ends the connection. */
async function replyTo(socket: Socket, ...pieces: readonly string[]): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("error", () => undefined);
  socket.on("data", (piece: string) => {
    text += piece;
  });
  const closed = once(socket, "close");
  for (const piece of pieces) {
    socket.write(piece);
    await delay(20);
  }
  await closed;
  return text;
}

function isProblem(t: Test, text: string, status: number, code: string, what: string): void {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  t.match(head, new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`), what);
  t.match(head, /^content-type: application\/problem\+json/im, what);
  t.match(head, /^connection: close$/im, what);
  const document = body === "" ? {} : JSON.parse(body);
  t.match(document, { status, code, type: `urn:natgw:problem:${code}` }, what);
  t.ok(document.detail?.length > 5, what);
}

const post = (...headers: string[]) => requestText("POST", "/v1/reconcile", headers);
const chunked = post("content-type: application/json", "transfer-encoding: chunked");
/** Bytes, and what they are answered with. */
const malformed: Readonly<Record<string, readonly [text: string, status: number, code: string]>> = {
  garbage: ["\x16\x03\x01 hello\r\n\r\n", 400, "malformed-http"],
  "HTTP/2": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed-http"],
  "no such version": ["GET /livez HTTP/9.9\r\nhost: a\r\n\r\n", 400, "malformed-http"],
  "two lengths": [post("content-length: 1", "transfer-encoding: chunked"), 400, "malformed-http"],
  "a chunk of no size": [`${chunked}zz\r\n`, 400, "malformed-http"],
  CONNECT: ["CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "malformed-http"],
  "two Hosts": [requestText("GET", "/livez", ["HOST: a"]), 400, "malformed-http"],
  "two Hosts in HTTP/1.0": ["GET /livez HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 400, "malformed-http"],
  "two tokens": [
    requestText("GET", "/livez", ["authorization: Bearer a", "Authorization: Bearer a"]),
    400,
    "malformed-http",
  ],
  "no Host": ["GET /livez HTTP/1.1\r\n\r\n", 400, "malformed-http"],
  "chunk extensions": [`${chunked}1;${"a".repeat(20_000)}\r\n`, 413, "too-large"],
  expectations: [post("expect: wonders", "connection: close"), 417, "expectation-failed"],
  headers: [requestText("GET", "/livez", [`x: ${"a".repeat(17_000)}`]), 431, "headers-too-large"],
};

t.test("what is no request gets a problem document, and the connection ends", async (t) => {
  const connections = { most: 1, reserved: 1 };
  const api = testApi({ listen: [{ host: "127.0.0.1", port: 0 }], connections });
  t.teardown(() => api.api.close());
  await api.api.listen();
  const port = Number(api.api.addresses[1]?.split(":").at(-1));
  for (const where of [{ path: api.socketPath }, { host: "127.0.0.1", port }]) {
    for (const [what, [text, status, code]] of Object.entries(malformed))
      isProblem(t, await replyTo(connect(where), text), status, code, `${what} ${Object.keys(where)[0]}`);
    const kept = await replyTo(connect(where), requestText("GET", "/livez"), "garbage\r\n\r\n");
    t.match(kept, /^HTTP\/1\.1 200 OK[\s\S]*HTTP\/1\.1 400 Bad Request/, "after an answer");
    const whole = requestText("GET", "/v1/status", ["connection: close"]);
    t.match(await replyTo(connect(where), whole), /^HTTP\/1\.1 200 OK/, "all are forgotten");
  }
  t.notOk(api.lines.some(({ level }) => Number(level) > 30));
});

t.test("Expect: 100-continue: asked for the body only if it is read", async (t) => {
  const directory = temporaryDirectory("expect");
  const tokenFile = join(directory, "token");
  writeFileSync(tokenFile, "secret-of-this-test");
  const api = testApi({ listen: [{ host: "127.0.0.1", port: 0 }], tokenFile });
  t.teardown(() => api.api.close());
  await api.api.listen();
  const port = Number(api.api.addresses[1]?.split(":").at(-1));
  const expecting = (path: string, length: number, ...headers: string[]) =>
    requestText("PUT", path, ["expect: 100-continue", `content-length: ${length}`, ...headers]);
  const [json, plain] = ["content-type: application/json", "content-type: text/plain"];
  for (const [status, where, text] of [
    [401, { host: "127.0.0.1", port }, expecting("/v1/eips/eip-a", 10, json)],
    [404, { path: api.socketPath }, expecting("/v1/none", 10, json)],
    [413, { path: api.socketPath }, expecting("/v1/desired", 1e9, json)],
    [415, { path: api.socketPath }, expecting("/v1/eips/eip-a", 10, plain)],
  ] as const)
    t.match(await replyTo(connect(where), text), new RegExp(`^HTTP/1\\.1 ${status} `), String(status));
  const body = '{"address":"203.0.113.10/24"}';
  const socket = connect({ path: api.socketPath }).setEncoding("latin1");
  socket.write(expecting("/v1/eips/eip-a", body.length, json, "connection: close"));
  t.equal((await once(socket, "data")).join(), "HTTP/1.1 100 Continue\r\n\r\n");
  t.match(await replyTo(socket, body), /^HTTP\/1\.1 202 /);
});

t.test("answers go out before the connection ends, and nothing is written into them", async (t) => {
  const underway = new Underway();
  const server = http.createServer({ headersTimeout: 100, connectionsCheckingInterval: 20 });
  server.on("request", (request, response) => {
    underway.add(response);
    if (request.url === "/held") setTimeout(() => response.end("held"), 300);
    if (request.url === "/begun") response.write("begun");
    if (request.url === "/begun" && request.method === "GET") setTimeout(() => response.end(), 300);
    if (request.url === "/early") response.writeHead(401, { connection: "close" }).end("early");
  });
  answerMalformed(server, underway);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const where: NetConnectOpts = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
  const ask = (...pieces: string[]) => replyTo(connect(where), ...pieces);
  const garbage = "garbage\r\n\r\n";

  const held = "HTTP/1\\.1 200 OK[\\s\\S]*held";
  const thenRefused = new RegExp(`^${held}HTTP/1\\.1 400 [\\s\\S]*malformed-http`);
  t.match(await ask(requestText("GET", "/held"), garbage), thenRefused, "the answer to another request");
  t.match(await ask(requestText("GET", "/held") + garbage), thenRefused, "in one piece");
  t.match(await ask(requestText("GET", "/held"), `${chunked}zz\r\n`), thenRefused, "the second in line");
  t.match(await ask(requestText("GET", "/held"), garbage, garbage, garbage), thenRefused, "told once");
  t.match(await ask(requestText("GET", "/held"), "CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n"), thenRefused);
  const last = await ask(requestText("PUT", "/held", ["connection: close"]), "{}");
  t.match(last, new RegExp(`^${held}$`), "what follows the last request is no request");
  t.match(await ask(requestText("GET", "/begun"), garbage), /begun\r\n0\r\n\r\nHTTP\/1\.1 400 /);
  t.match(await ask(requestText("POST", "/begun", ["transfer-encoding: chunked"]), "zz\r\n"), /begun\r\n$/);
  const early = await ask(requestText("POST", "/early", ["transfer-encoding: chunked"]) + garbage);
  t.notMatch(early, /400/);
  isProblem(t, await ask(`${chunked}zz\r\n`), 400, "malformed-http", "its own body");
  isProblem(t, await ask("GET / HTTP/1.1\r\nhost:"), 408, "request-timeout", "too slow");
  const slow = await ask(requestText("GET", "/held"), "GET / HTTP/1.1\r\nhost:");
  t.match(slow, new RegExp(`^${held}HTTP/1\\.1 408 `), "too slow behind another");
  await until("no answer is forgotten", () => underway.all.size === 0);
});

t.test("with TLS", { skip: !hasOpenssl() }, async (t) => {
  const directory = temporaryDirectory("malformed");
  const { cert: certFile, key: keyFile } = certificates(directory)("server");
  const tls = { certFile, keyFile, clientCaFile: undefined, allowFile: undefined };
  const api = testApi({ listen: [{ host: "127.0.0.1", port: 0 }], tls });
  t.teardown(() => api.api.close());
  await api.api.listen();
  const port = Number(api.api.addresses[1]?.split(":").at(-1));
  const secure = tlsConnect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  isProblem(t, await replyTo(secure, "garbage\r\n\r\n"), 400, "malformed-http", "within TLS");
  t.notMatch(
    await replyTo(connect(port, "127.0.0.1"), requestText("GET", "/livez")),
    /HTTP/,
    "no TLS at all",
  );
});
