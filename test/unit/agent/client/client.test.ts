import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createPlainServer } from "node:net";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import t, { type Test } from "tap";
import type { OpenTransport } from "../../../../agent/client/answer.ts";
import { type Client, ConnectionError, connect, type Target } from "../../../../agent/client/client.ts";
import { openSocketTransport } from "../../../../agent/client/socket-transport.ts";
import { type TestApi, testApi } from "../../../support/api-fakes.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const directory = temporaryDirectory("client");

async function clientOf(t: Test, target: Target, open?: OpenTransport): Promise<Client> {
  const client = await connect(target, open);
  t.teardown(() => client.close());
  return client;
}

/** The transport of natgwctl. */
const overSocket: OpenTransport = (target) => openSocketTransport(target as { readonly socket: string });
/** The usual one, which serves the socket as well, and that of natgwctl. */
const transports = { http: undefined, socket: overSocket } as const;

async function serving(t: Test, settings: Parameters<typeof testApi>[0]): Promise<TestApi> {
  const api = testApi(settings);
  t.teardown(() => api.api.close());
  await api.api.listen();
  return api;
}

/** A server that answers as `listener` does, and a client of it. */
async function clientOfServer(t: Test, listener: RequestListener, open?: OpenTransport): Promise<Client> {
  const server = createServer(listener);
  const socket = join(directory, `${++servers}.sock`);
  if (open === undefined) server.listen(0, "127.0.0.1");
  else server.listen(socket);
  await once(server, "listening");
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
  if (open !== undefined) return clientOf(t, { socket }, open);
  return clientOf(t, { server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}
let servers = 0;

for (const [how, open] of Object.entries(transports))
  t.test(`${how}: answers and refusals are values`, async (t) => {
    const { socketPath } = await serving(t, {});
    const client = await clientOf(t, { socket: socketPath }, open);
    const eip = { path: { name: "eip-a" } };
    const written = await client.put("/v1/eips/{name}", { ...eip, body: { address: "203.0.113.10/24" } });
    t.match(written, { ok: true, status: 202, revision: 1, body: { kind: "Eip", name: "eip-a" } });
    const read = await client.get("/v1/eips/{name}", eip);
    t.match(read, { ok: true, status: 200, body: { spec: { address: "203.0.113.10/24" } } });
    const list = await client.get("/v1/eips", { query: { ready: true } });
    t.match(list, { ok: true, body: { items: [] } }, "the query is sent");
    const stale = { ...eip, header: { "if-match": '"7"' } };
    t.match(await client.delete("/v1/eips/{name}", stale), {
      ok: false,
      status: 412,
      problem: { code: "precondition-failed" },
    });
    const deleted = await client.delete("/v1/eips/{name}", eip);
    t.match(deleted, { ok: true, status: 204, body: undefined });
    t.match(await client.get("/v1/eips/{name}", { path: { name: "a/../b?c" } }), {
      ok: false,
      status: 404,
      problem: { code: "not-found" },
    });
    t.match(await client.get("/livez"), { ok: true, body: "ok\n" });
  });

t.test("over TCP with a token, and over TLS with a CA", async (t) => {
  const tokenFile = join(directory, "token");
  writeFileSync(tokenFile, "first\n");
  const [certFile, keyFile] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  const subject = ["-subj", "/CN=agent", "-addext", "subjectAltName=IP:127.0.0.1"];
  const make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", [...make, ...subject, "-keyout", keyFile, "-out", certFile], { stdio: "ignore" });
  const listen = [{ host: "127.0.0.1", port: 0 }];
  for (const tls of [undefined, { certFile, keyFile, clientCaFile: undefined }]) {
    const { api } = await serving(t, { listen, tokenFile, tls });
    const server = `${tls === undefined ? "http" : "https"}://${api.addresses[1]}`;
    const ca = tls === undefined ? {} : { ca: certFile };
    const client = await clientOf(t, { server, tokenFile, ...ca });
    t.match(await client.get("/v1/eips"), { ok: true });
    const stranger = await clientOf(t, { server, ...ca });
    t.match(await stranger.get("/v1/eips"), { ok: false, status: 401, problem: { code: "unauthorized" } });
    if (tls === undefined) continue;
    const trusting = await clientOf(t, { server, tokenFile });
    await t.rejects(trusting.get("/v1/eips"), { name: "ConnectionError", message: /self-signed/ });
  }
});

t.test("files that cannot be used: nothing is sent, and the error names them", async (t) => {
  const write = (name: string, content: string) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  const plain = "http://127.0.0.1:1";
  for (const [tokenFile, why] of [
    [join(directory, "nowhere"), /^Cannot read the bearer token: ENOENT/],
    [directory, /^Cannot read the bearer token: EISDIR/],
    [write("empty", "\n"), /does not hold one token/],
    [write("two", "one\ntwo\n"), /does not hold one token/],
  ] as const) {
    const client = await clientOf(t, { server: plain, tokenFile });
    const error = await client.get("/livez").catch((thrown: unknown) => thrown);
    t.match(error, { name: "CredentialsError", message: why });
    t.ok(error instanceof ConnectionError);
    t.match((error as Error).message, tokenFile === directory ? /directory/ : tokenFile);
  }
  const garbage = write("garbage", "garbage");
  const server = "https://127.0.0.1:1";
  await t.rejects(connect({ server, ca: garbage }), { message: `Cannot use the CA in ${garbage}` });
  const pair = { cert: garbage, key: garbage };
  await t.rejects(connect({ server, ...pair }), { message: /certificate in \S+garbage/ });
});

t.test("a renewed token is used with the next request", async (t) => {
  const tokenFile = join(directory, "renewed");
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const client = await clientOf(t, { server: `http://127.0.0.1:${port}`, tokenFile });
  for (const token of ["first", "second"]) {
    writeFileSync(tokenFile, `${token}\n`);
    await client.get("/livez");
  }
  client.close();
  t.same(seen, ["Bearer first", "Bearer second"]);
});

for (const [how, open] of Object.entries(transports))
  t.test(`${how}: where there is no answer, an error says so`, async (t) => {
    const nowhere = await clientOf(t, { socket: join(directory, "none.sock") }, open);
    await t.rejects(nowhere.get("/v1/eips"), { name: "ConnectionError", message: /ENOENT/ });
    const deaf = await clientOfServer(t, () => {}, open);
    await t.rejects(deaf.get("/v1/eips", { timeoutMs: 50 }), { name: "ConnectionError", message: /timeout/ });
    const abort = new AbortController();
    const waiting = deaf.get("/v1/eips", { signal: abort.signal });
    abort.abort();
    await t.rejects(waiting, ConnectionError);
    const cut = await clientOfServer(
      t,
      (_request, response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": 100 });
        response.write("{", () => response.destroy());
      },
      open,
    );
    await t.rejects(cut.get("/v1/eips"), { name: "ConnectionError", message: /broke off/ });
    const halting = await clientOfServer(
      t,
      (_request, response) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.write("{");
      },
      open,
    );
    await t.rejects(halting.get("/v1/eips", { timeoutMs: 50 }), { name: "ConnectionError" });
    const garbled = await clientOfServer(
      t,
      (_request, response) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.end("{");
      },
      open,
    );
    await t.rejects(garbled.get("/v1/eips"), { name: "ConnectionError" });
  });

for (const [how, open] of Object.entries(transports))
  t.test(`${how}: a failure without a problem document`, async (t) => {
    const client = await clientOfServer(
      t,
      (_request, response) => {
        response.writeHead(503, { "retry-after": "7" });
        response.end("no\n");
      },
      open,
    );
    t.match(await client.get("/readyz"), {
      ok: false,
      status: 503,
      retryAfter: 7,
      problem: { code: "internal", detail: "no" },
    });
  });

t.test("an idle connection that the agent closed costs no request", async (t) => {
  let requests = 0;
  const client = await clientOfServer(t, (request, response) => {
    // The second request meets a connection that ends without an answer.
    if (++requests === 2) request.socket.resetAndDestroy();
    else response.end();
  });
  await client.get("/livez");
  t.match(await client.get("/livez"), { ok: true });
  t.equal(requests, 3);
  requests = 0;
  await client.post("/v1/reconcile");
  await t.rejects(client.post("/v1/reconcile"), ConnectionError, "a POST is sent once");
});

for (const [how, open] of Object.entries(transports))
  t.test(`${how}: a stream`, async (t) => {
    const client = await clientOfServer(
      t,
      (request, response) => {
        if (request.url === "/livez") {
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write("one");
          response.end("two");
        } else response.writeHead(410).end();
      },
      open,
    );
    const reply = await client.stream("/livez");
    if (!reply.ok) throw new Error(reply.problem.detail);
    let text = "";
    for await (const part of reply.text) text += part;
    t.equal(text, "onetwo");
    t.match(await client.stream("/v1/status"), { ok: false, status: 410 });
  });

t.test("answers as bytes, over the socket", async (t) => {
  const long = `"${"\u00e4".repeat(100_000)}"`;
  const json = "content-type: application/json\r\n";
  const cases: readonly (readonly [what: string, parts: readonly (string | Buffer)[], expected: unknown])[] =
    [
      ["a length", [`HTTP/1.1 200 OK\r\n${json}Content-Length: 7\r\n\r\n{"a":1}beyond`], { a: 1 }],
      ["headers in pieces", ["HTTP/1.1 20", "0 OK\r", `\n${json}content-length: 2\r\n\r`, "\n{", "}"], {}],
      ["the end of the connection", [`HTTP/1.1 200 OK\r\n${json}\r\n`, "[", "1]"], [1]],
      [
        "an interim answer first",
        ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"],
        undefined,
      ],
      [
        "chunks that divide a character",
        [
          `HTTP/1.1 200 OK\r\n${json}transfer-encoding: chunked\r\n\r\n`,
          "3;x=y\r\n",
          '"\u00e4',
          "\r\n",
          "1\r\n",
          '"',
          "\r\n0\r\n\r\n",
        ],
        "\u00e4",
      ],
      [
        "a long body",
        [`HTTP/1.1 200 OK\r\n${json}content-length: ${Buffer.byteLength(long)}\r\n\r\n`, long],
        JSON.parse(long),
      ],
    ];
  for (const [what, parts, expected] of cases) {
    const client = await clientOfBytes(t, parts);
    t.same(
      await client.get("/livez"),
      { ok: true, status: expected === undefined ? 204 : 200, body: expected },
      what,
    );
  }
  for (const [what, parts] of [
    ["no answer", []],
    ["no HTTP", ["SSH-2.0-x\r\n\r\n"]],
    ["headers without an end", ["HTTP/1.1 200 OK\r\na: b\r\n"]],
    ["a line without an end", ["x".repeat(100_000)]],
    ["a body that is too short", ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "12345678"]],
    ["a chunk without a size", ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "z\r\n"]],
    ["no last chunk", ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\na\r\n"]],
  ] as const) {
    const client = await clientOfBytes(t, parts);
    await t.rejects(client.get("/livez"), ConnectionError, what);
  }
});

/** A server that sends these parts, one after the other, and closes the connection. */
async function clientOfBytes(t: Test, parts: readonly (string | Buffer)[]): Promise<Client> {
  const path = join(directory, `${++servers}.sock`);
  const server = createPlainServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", async () => {
      for (const part of parts) {
        socket.write(part);
        await nextTurn();
      }
      socket.end();
    });
  }).listen(path);
  await once(server, "listening");
  t.teardown(() => server.close());
  return clientOf(t, { socket: path }, overSocket);
}
