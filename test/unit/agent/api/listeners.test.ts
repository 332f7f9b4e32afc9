import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { connect, createServer, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect } from "node:tls";
import t, { type Test } from "tap";
import {
  eipsToAvoid,
  isLoopbackHost,
  refuseOutside,
  refuseUnsafe,
} from "../../../../agent/api/listen-address.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../lib/state/state.ts";
import { type TestApi, testApi } from "../../../support/api-fakes.ts";
import { certificates, hasOpenssl } from "../../../support/certificates.ts";
import { plantToken } from "../../../support/secrets.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const token = plantToken("token");
interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

function send(
  options: https.RequestOptions & { readonly secure?: boolean },
  payload?: object,
): Promise<Answer> {
  const { secure, ...rest } = options;
  return new Promise((resolve, reject) => {
    const request = (secure === true ? https : http).request(
      { agent: false, ...rest, headers: { "content-type": "application/json", ...rest.headers } },
      (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          body += chunk;
        });
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      },
    );
    request.on("error", reject);
    request.end(payload === undefined ? undefined : JSON.stringify(payload));
  });
}

function portOf(api: TestApi, index = 1): { readonly host: string; readonly port: number } {
  const [host = "", port] = (api.api.addresses[index] ?? "").split(/:(?=\d+$)/);
  return { host, port: Number(port) };
}

async function listening(t: Test, settings: Parameters<typeof testApi>[0]): Promise<TestApi> {
  const api = testApi(settings);
  t.teardown(() => api.api.close());
  await api.api.listen();
  return api;
}

const loopback = [{ host: "127.0.0.1", port: 0 }] as const;
/** Wrong contents of a token file. */
const noTokens = {
  "an empty file": " \n",
  "two lines": "one\ntwo\n",
  "two lines of Windows": "one\r\ntwo\r\n",
  "a token and a word": "one two",
  garbage: Buffer.from([0x00, 0xff, 0xfe, 0x80, 0x1b]),
  "a token with letters of elsewhere": "tökën",
  "a token that no header holds": "x".repeat(5_000),
};
const eip = { address: "203.0.113.10/24" };
const directory = temporaryDirectory("listeners");
const certificate = certificates(directory);

t.test("the unix socket", async (t) => {
  const api = await listening(t, {});
  const { socketPath } = api;
  t.equal(statSync(socketPath).mode & 0o777, 0o600);
  const put = await send({ socketPath, method: "PUT", path: "/v1/eips/eip-a" }, eip);
  t.equal(put.status, 202, "needs no token");
  const page = await send({ socketPath, path: "/v1/eips", headers: { origin: "null" } });
  t.equal(page.status, 403);

  const rival = testApi({ socketPath });
  await t.rejects(rival.api.listen(), { code: "already-running" }, "somebody answers");
  await rival.api.close();
  t.equal((await send({ socketPath, path: "/livez" })).status, 200, "and keeps answering");

  await api.api.close();
  t.notOk(existsSync(socketPath), "removed");
});

t.test("a stale socket is removed, anything else is not", async (t) => {
  const socketPath = join(directory, "stale.sock");
  const script = `require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script, socketPath]);
  t.ok(statSync(socketPath).isSocket(), "left behind by a process that was killed");
  const api = await listening(t, { socketPath });
  t.equal((await send({ socketPath, path: "/livez" })).status, 200);
  await api.api.close();

  const file = join(directory, "precious");
  writeFileSync(file, "data");
  const wrong = testApi({ socketPath: file });
  await t.rejects(wrong.api.listen(), { code: "bad-config" });
  await wrong.api.close();
  t.equal(readFileSync(file, "utf8"), "data");
});

t.test("tokens", async (t) => {
  const tokenFile = join(directory, "token");
  writeFileSync(tokenFile, `${token}\n`);
  const api = await listening(t, { listen: loopback, tokenFile });
  const where = portOf(api);
  const read = (authorization?: string, path = "/v1/eips") =>
    send({ ...where, path, headers: { host: "gateway.example", ...(authorization && { authorization }) } });

  for (const wrong of [
    undefined,
    "",
    "Bearer",
    `Bearer ${token.slice(0, -1)}`,
    `Bearer ${token}x`,
    `Basic ${token}`,
    token,
  ]) {
    const answer = await read(wrong);
    t.equal(answer.status, 401, String(wrong));
    t.equal(JSON.parse(answer.body).code, "unauthorized");
    t.match(answer.headers["www-authenticate"], /^Bearer /);
  }
  t.equal((await read(undefined, "/v1/nowhere")).status, 401, "what exists is not told");
  t.equal((await read(undefined, "/metrics")).status, 401);
  t.equal((await read(`Bearer ${token}`)).status, 200);
  t.equal((await read(`bearer ${token}`)).status, 200, "the scheme's case does not matter");
  t.equal((await read(undefined, "/livez")).status, 200);
  t.equal((await read(undefined, "/readyz")).status, 200);

  const write = await send({ ...where, method: "PUT", path: "/v1/eips/eip-a" }, eip);
  t.equal(write.status, 401);
  t.equal(api.state.current.desired.eips.size, 0, "nothing was written");

  writeFileSync(tokenFile, "renewed");
  utimesSync(tokenFile, new Date(), new Date());
  t.equal((await read(`Bearer ${token}`)).status, 200, "looked at every few seconds only");
  api.now.bootMs += 5_000;
  t.equal((await read(`Bearer ${token}`)).status, 401);
  t.equal((await read("Bearer renewed")).status, 200);

  for (const [what, content] of Object.entries(noTokens)) {
    writeFileSync(tokenFile, "renewed");
    api.now.bootMs += 5_000;
    await read("Bearer renewed");
    api.lines.length = 0;
    for (const _ of ["told once", "and not again"]) {
      writeFileSync(tokenFile, content);
      api.now.bootMs += 5_000;
      t.equal((await read("Bearer renewed")).status, 200, `${what}: the last token stays in force`);
    }
    for (const line of ["", "one", "two"])
      t.equal((await read(`Bearer ${line}`)).status, 401, `${what}: ${line}`);
    const warnings = api.lines.filter(({ level }) => level === 40);
    t.equal(warnings.length, 1, what);
    t.match(
      warnings,
      [{ msg: "the file of credentials is not valid, the last credentials stay in force" }],
      what,
    );
    t.match(api.api.degradations, [{ reason: "TokenFileInvalid" }], what);
  }
  rmSync(tokenFile);
  api.now.bootMs += 5_000;
  t.equal((await read("Bearer renewed")).status, 200, "without a file, too");
  writeFileSync(tokenFile, "again\r\n");
  api.now.bootMs += 5_000;
  t.equal((await read("Bearer again")).status, 200);
  t.same(api.api.degradations, []);
});

t.test("a token file without a token stops the start, with one line that says why", async (t) => {
  const tokenFile = join(directory, "empty");
  for (const [what, content] of Object.entries(noTokens)) {
    writeFileSync(tokenFile, content);
    const api = testApi({ listen: loopback, tokenFile });
    await t.rejects(api.api.listen(), { code: "bad-config", message: /^NATGW_TOKEN_FILE: [^\n]+: .+/ }, what);
    t.notOk(existsSync(api.socketPath));
    await api.api.close();
  }
});

t.test("without token: foreign Host names (DNS rebinding)", async (t) => {
  const api = await listening(t, { listen: loopback });
  const where = portOf(api);
  const as = async (host: string, path = "/v1/eips") =>
    (await send({ ...where, path, headers: { host } })).status;
  for (const host of [
    "127.0.0.1:9477",
    "127.0.0.1",
    "localhost:9477",
    "LOCALHOST",
    "[::1]:9477",
    "10.1.2.3",
  ]) {
    t.equal(await as(host), 200, host);
  }
  for (const host of [
    "evil.example",
    "evil.example:9477",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
  ]) {
    t.equal(await as(host), 403, host);
    t.equal(await as(host, "/livez"), 403, host);
  }
  const write = await send({ ...where, method: "PUT", path: "/v1/eips/eip-a" }, eip);
  t.equal(write.status, 202, "the loopback may write");
  const page = await send({ ...where, path: "/v1/eips", headers: { origin: "http://127.0.0.1" } });
  t.equal(page.status, 403);
});

t.test("beyond loopback there is no listener without credentials", async (t) => {
  for (const host of ["10.0.1.254", "fd00::1"]) {
    const api = testApi({ listen: [{ host, port: 9477 }] });
    await t.rejects(api.api.listen(), {
      code: "bad-config",
      message: /is not on loopback: it needs NATGW_TOKEN_FILE/,
    });
    t.notOk(existsSync(api.socketPath));
    await api.api.close();
  }
});

t.test("TLS, with and without a client's certificate", { skip: !hasOpenssl() && "no openssl" }, async (t) => {
  const ca = certificate("ca");
  const server = certificate("server", ca);
  const client = certificate("client", ca);
  const stranger = certificate("stranger");
  const tls = { certFile: server.cert, keyFile: server.key, clientCaFile: ca.cert };
  const api = await listening(t, { listen: loopback, tls });
  const where = { ...portOf(api), secure: true, rejectUnauthorized: false };
  const read = async (path: string, pair?: { readonly certPem: string; readonly keyPem: string }) =>
    send({ ...where, path, ...(pair && { cert: pair.certPem, key: pair.keyPem }) });
  const refused = await read("/v1/eips");
  t.equal(refused.status, 401);
  t.notOk(refused.headers["www-authenticate"], "no token helps");
  t.equal((await read("/livez")).status, 200, "a kubelet has no certificate");
  t.equal((await read("/v1/eips", client)).status, 200);
  t.equal((await read("/v1/eips", stranger)).status, 401);
  const page = await send({
    ...where,
    path: "/v1/eips",
    cert: client.certPem,
    key: client.keyPem,
    headers: { origin: "x" },
  });
  t.equal(page.status, 403);

  const broken = testApi({ listen: loopback, tls: { ...tls, keyFile: join(directory, "nowhere") } });
  await t.rejects(broken.api.listen(), { code: "bad-config" });
  t.notOk(existsSync(broken.socketPath), "what was open is closed again");
  await broken.api.close();
  const unfit = testApi({ listen: loopback, tls: { ...tls, keyFile: stranger.key } });
  await t.rejects(unfit.api.listen(), { code: "bad-config" });
  await unfit.api.close();
});

t.test("renewed certificates are served", { skip: !hasOpenssl() && "no openssl" }, async (t) => {
  const { cert, key } = certificate("renewed");
  const tls = { certFile: cert, keyFile: key, clientCaFile: undefined };
  const api = await listening(t, { listen: loopback, tls, certificateRecheckMs: 5 });
  const served = async () => {
    const socket = tlsConnect({ ...portOf(api), rejectUnauthorized: false });
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };
  const first = await served();
  writeFileSync(key, "half a file");
  while (!api.lines.some(({ msg }) => String(msg).startsWith("cannot read the certificates"))) {
    await new Promise(setImmediate);
  }
  t.equal(await served(), first, "half a file leaves the last in force");
  t.match(api.api.degradations, [{ reason: "CertificatesInvalid" }]);
  certificate("renewed");
  while ((await served()) === first) await new Promise(setImmediate);
  t.same(api.api.degradations, [], "the new one");
});

t.test("a port that is taken stops the start and leaves nothing", async (t) => {
  const taken = createServer();
  taken.listen(0, "127.0.0.1");
  await once(taken, "listening");
  t.teardown(() => taken.close());
  const address = taken.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const api = testApi({ listen: [{ host: "127.0.0.1", port }] });
  await t.rejects(api.api.listen(), {
    code: "bad-config",
    message: /^NATGW_LISTEN: cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
  });
  t.notOk(existsSync(api.socketPath));
  await api.api.close();
});

t.test("stopping", async (t) => {
  const api = testApi({ listen: loopback, drainMs: 60_000 });
  await api.api.listen();
  const where = portOf(api);
  const agent = new http.Agent({ keepAlive: true });
  t.equal((await send({ ...where, agent, path: "/livez" })).status, 200, "and stays connected, idle");
  const waiting = send({ ...where, agent, method: "PUT", path: "/v1/eips/eip-a?wait=5m" }, eip);
  while (api.board.waiting === 0) await new Promise(setImmediate);
  const silent: Socket = connect(where.port, where.host);
  await once(silent, "connect");
  await Promise.all([api.api.close(), api.api.close()]);
  const answer = await waiting;
  t.equal(answer.status, 202, "whoever waited is answered");
  t.equal(answer.headers.connection, "close");
  await t.rejects(send({ ...where, path: "/livez" }), "nobody listens");
  silent.destroy();
  agent.destroy();
});

t.test("refuseUnsafe", async (t) => {
  const interfaces = {
    lo: ["127.0.0.1"],
    eth0: ["10.0.1.2"],
    net1: ["203.0.113.2", "2001:db8:0:0:0:0:0:2"],
  };
  const judge = (host: string) => () =>
    refuseUnsafe([{ host, port: 9477 }], interfaces, "net1", ["203.0.113.10"]);
  for (const host of ["127.0.0.1", "::1", "10.0.1.2", "203.0.113.3"]) t.doesNotThrow(judge(host), host);
  for (const host of [
    "0.0.0.0",
    "::",
    "0:0::0",
    "::ffff:0.0.0.0",
    "203.0.113.2",
    "::ffff:203.0.113.2",
    "2001:db8:0::2",
    "203.0.113.10",
    "::ffff:203.0.113.10",
  ]) {
    t.throws(judge(host), { code: "bad-config" }, host);
  }
  t.doesNotThrow(() => refuseUnsafe([{ host: "203.0.113.2", port: 1 }], {}, "net1", []), "no such interface");
  for (const host of ["127.0.0.1", "127.9.9.9", "::1"]) t.ok(isLoopbackHost(host), host);
  for (const host of ["10.0.1.2", "2001:db8::2"]) t.notOk(isLoopbackHost(host), host);

  const api = testApi({ listen: [{ host: "0.0.0.0", port: 0 }] });
  await t.rejects(api.api.listen(), { code: "bad-config" });
  await api.api.close();

  const restarted = testApi({ listen: [{ host: "127.0.0.7", port: 0 }] });
  const spec = { name: "a", address: "127.0.0.7/24" };
  const put = { type: "put", kind: "eip", object: { spec, revision: 1, creation: 1 } } as StateChange;
  await restarted.state.transact(() => ({ changes: [put], result: undefined }));
  await t.rejects(restarted.api.listen(), { code: "bad-config", message: /is an EIP/ });
  await restarted.api.close();
});

t.test("no set keeps the agent from starting where it listens", async (t) => {
  const desired = (address: string) => {
    const object = { spec: { name: "a", address }, revision: 1, creation: 1 };
    return reduce(emptyState, [{ type: "put", kind: "eip", object } as unknown as StateChange]);
  };
  const interfaces = { eth0: ["10.0.1.254"], net1: ["203.0.113.10"] };
  t.same(eipsToAvoid(desired("10.0.1.254/24"), interfaces), [], "the gateway's own address is no EIP");
  t.same(eipsToAvoid(desired("203.0.113.9/24"), interfaces), ["203.0.113.9"], "not held, or by a route");
  const entry = { interface: "net1", address: "203.0.113.10" };
  const owned = reduce(desired("203.0.113.10/24"), [{ type: "ledger-add", entry } as unknown as StateChange]);
  t.same(eipsToAvoid(owned, interfaces), ["203.0.113.10"], "put there by the agent");

  const listen = [{ host: "203.0.113.10", port: 9477 }];
  const judge = (name: string | undefined) => refuseOutside(listen, name, async () => interfaces);
  for (const safe of [undefined, "eth0", "net7"]) await t.resolves(judge(safe), String(safe));
  await t.rejects(judge("net1"), {
    code: "conflict",
    message:
      "gateway/externalInterface: NATGW_LISTEN: 203.0.113.10:9477 is an address on the external interface net1",
  });
});

const [own] = Object.entries(networkInterfaces()).filter(([name]) => name !== "lo");

t.test("a full set is refused for it", { skip: own === undefined && "no interface here" }, async (t) => {
  const [name = "", [first] = []] = own ?? [];
  const { api, state } = testApi({ listen: [{ host: first?.address ?? "", port: 9477 }] });
  t.teardown(() => api.close());
  const set = { generation: 1, eips: [], fips: [], snats: [], dnats: [], routes: [] };
  for (const [externalInterface, statusCode] of [
    [name, 409],
    ["net7", 200],
  ] as const) {
    const gateway = { vpcInterface: "vpc0", externalInterface };
    const answer = await api.app.inject({ method: "PUT", url: "/v1/desired", body: { ...set, gateway } });
    t.equal(answer.statusCode, statusCode, answer.body);
    if (statusCode === 409)
      t.match(answer.json(), { code: "conflict", detail: /^gateway\/externalInterface: NATGW_LISTEN: / });
    t.equal(state.current.isSet, statusCode === 200);
  }
});
