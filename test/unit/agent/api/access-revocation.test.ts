/** Credentials that change while connections are open: who may no longer is refused, cut off, and let in again with others. */
import { once } from "node:events";
import { copyFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import * as http from "node:http";
import * as https from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import t, { type Test } from "tap";
import { type TestApi, testApi } from "../../../support/api-fakes.ts";
import { certificates, hasOpenssl, type Pair } from "../../../support/certificates.ts";
import { plantToken, tokenLine } from "../../../support/secrets.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const directory = temporaryDirectory("revocation");
const certificate = certificates(directory);
const listen = [{ host: "127.0.0.1", port: 0 }] as const;
const goesOn = /credentials changed; go on with the last id/;

/** A caller with one connection, which stays open. */
class Caller {
  readonly #options: https.RequestOptions;
  readonly #request: typeof https.request;
  readonly #agent: http.Agent;

  constructor(t: Test, { api }: TestApi, options: https.RequestOptions, pair?: Pair) {
    const [host, port] = (api.addresses[1] ?? "").split(":");
    const isSecure = pair !== undefined;
    const own = isSecure ? { cert: pair.certPem, key: pair.keyPem, rejectUnauthorized: false } : {};
    this.#request = isSecure ? https.request : http.request;
    this.#agent = new (isSecure ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
    this.#options = { host, port: Number(port), agent: this.#agent, ...own, ...options };
    t.teardown(() => this.#agent.destroy());
  }

  async open(path: string, method = "GET", body?: object): Promise<IncomingMessage> {
    const headers = { ...this.#options.headers, ...(body && { "content-type": "application/json" }) };
    const request = this.#request({ ...this.#options, headers, path, method });
    const answered = once(request, "response");
    request.end(body && JSON.stringify(body));
    const [response] = await answered;
    return response;
  }

  async status(path = "/v1/eips", method = "GET"): Promise<number | undefined> {
    const response = await this.open(path, method);
    await text(response);
    return response.statusCode;
  }

  /** True if the connection has ended. */
  get isGone(): boolean {
    return Object.keys(this.#agent.freeSockets).length === 0 && Object.keys(this.#agent.sockets).length === 0;
  }
}

async function start(t: Test, settings: Parameters<typeof testApi>[0]): Promise<TestApi> {
  const made = testApi({ listen, certificateRecheckMs: 5, ...settings });
  t.teardown(() => made.api.close());
  await made.api.listen();
  return made;
}

t.test("a token whose line is removed", async (t) => {
  const tokenFile = join(directory, "tokens");
  const bearer = (name: string) => ({ headers: { authorization: `Bearer ${plantToken(name)}` } });
  writeFileSync(tokenFile, tokenLine("stolen", "read") + tokenLine("kept", "read"));
  const made = await start(t, { tokenFile });
  const [stolen, kept] = [new Caller(t, made, bearer("stolen")), new Caller(t, made, bearer("kept"))];
  const stream = await stolen.open("/v1/events");
  const [local] = await once(http.get({ socketPath: made.socketPath, path: "/v1/events" }), "response");
  let read = "";
  local.setEncoding("utf8").on("data", (piece: string) => {
    read += piece;
  });
  writeFileSync(tokenFile, tokenLine("kept", "read"));
  made.now.bootMs += 5_000;
  t.equal(await kept.status(), 200);
  t.match(await text(stream), goesOn, "what it was reading ends");
  t.equal(await stolen.status(), 401);
  t.match(await text(await kept.open("/v1/events?follow=false")), /^:/);
  local.destroy();
  t.notMatch(read, goesOn, "readers by the socket are left alone");
});

t.test(
  "a certificate whose name is removed from the list",
  { skip: !hasOpenssl() && "no openssl" },
  async (t) => {
    const ca = certificate("ca");
    const server = certificate("server", ca);
    const [a, b] = [certificate("a", ca, "DNS:a.example"), certificate("b", ca, "URI:spiffe://b")];
    const allowFile = join(directory, "list");
    writeFileSync(allowFile, "write:dns:a.example\n");
    const tls = { certFile: server.cert, keyFile: server.key, clientCaFile: ca.cert, allowFile };
    const made = await start(t, { tls });
    const [first, second] = [new Caller(t, made, {}, a), new Caller(t, made, {}, b)];
    const streaming = new Caller(t, made, {}, a);
    t.equal(await first.status(), 200);
    t.equal(await second.status(), 401, "the CA alone is not enough");
    const stream = await streaming.open("/v1/events");

    writeFileSync(allowFile, "read:uri:spiffe://b\n");
    t.equal(await first.status(), 200, "looked at every few seconds only");
    made.now.bootMs += 5_000;
    t.equal(await first.status(), 401, "by the same connection");
    t.equal(await second.status(), 200, "by the same connection");
    t.equal(await second.status("/v1/eips/x", "DELETE"), 403, "it may read");
    t.match(await text(stream), goesOn);

    writeFileSync(allowFile, "nonsense\n");
    made.now.bootMs += 5_000;
    t.equal(await second.status(), 200, "the last list stays in force");
    t.match(made.api.degradations, [{ reason: "ClientListInvalid" }]);
    writeFileSync(allowFile, "write:dns:a.example\nwrite:uri:spiffe://b\n");
    made.now.bootMs += 5_000;
    t.equal(await first.status(), 200);
    t.equal(await second.status("/v1/eips/x", "DELETE"), 404, "and write");
    t.same(made.api.degradations, []);
  },
);

t.test("a CA that is replaced", { skip: !hasOpenssl() && "no openssl" }, async (t) => {
  const [oldCa, newCa] = [certificate("old-ca"), certificate("new-ca")];
  const server = certificate("server-of-both");
  const [before, after] = [certificate("before", oldCa), certificate("after", newCa)];
  const clientCaFile = join(directory, "client-ca");
  copyFileSync(oldCa.cert, clientCaFile);
  const made = await start(t, { tls: { certFile: server.cert, keyFile: server.key, clientCaFile } });
  const [idle, streaming, waiting] = [1, 2, 3].map(() => new Caller(t, made, {}, before));
  if (idle === undefined || streaming === undefined || waiting === undefined) return;
  t.equal(await idle.status(), 200);
  const stream = await streaming.open("/v1/events");
  const answer = waiting.open("/v1/eips/a?wait=5m", "PUT", { address: "203.0.113.10/24" });
  while (made.board.waiting === 0) await new Promise(setImmediate);

  copyFileSync(newCa.cert, clientCaFile);
  t.match(await text(stream), goesOn);
  while (!idle.isGone) await new Promise(setImmediate);
  made.board.finish("timeout");
  const late = await answer;
  t.equal(late.statusCode, 202, "whoever waits is answered");
  await text(late);
  while (!waiting.isGone || !streaming.isGone) await new Promise(setImmediate);
  for (const caller of [idle, streaming, waiting]) t.equal(await caller.status(), 401, "connected again");
  t.equal(await new Caller(t, made, {}, after).status(), 200);
});
