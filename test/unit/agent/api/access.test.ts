import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, type RequestOptions, request } from "node:http";
import { join } from "node:path";
import type { FastifyRequest } from "fastify";
import t, { type Test } from "tap";
import type { Identity } from "../../../../agent/api/identity.ts";
import { type TestApi, testApi } from "../../../support/api-fakes.ts";
import { plantToken } from "../../../support/secrets.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const reader = plantToken("reader");
const writer = plantToken("writer");
const token = plantToken("token");
const directory = temporaryDirectory("access");

function sha256(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly detail: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

function send(options: RequestOptions, token?: string): Promise<Answer> {
  const headers = { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...options.headers };
  return new Promise((resolve, reject) => {
    const sent = request({ agent: false, ...options, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => {
        const isProblem = response.headers["content-type"]?.startsWith("application/problem+json") ?? false;
        const { code, detail } = isProblem && text !== "" ? JSON.parse(text) : {};
        resolve({ status: response.statusCode ?? 0, code, detail, headers: response.headers });
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}

async function listening(t: Test, settings: Parameters<typeof testApi>[0]) {
  const made = testApi(settings);
  t.teardown(() => made.api.close());
  const identities: Identity[] = [];
  made.app.addHook("onResponse", async (given: FastifyRequest) => {
    identities.push(given.identity);
  });
  await made.api.listen();
  const [host, port] = (made.api.addresses[1] ?? "").split(":");
  return { ...made, identities, where: { host, port: Number(port) } };
}

const loopback = [{ host: "127.0.0.1", port: 0 }] as const;

function tokenFile(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const named = `# who may what
controller:write:${sha256(writer)}
controller:write:${sha256("next")}

prometheus:read:${sha256(reader).toUpperCase()}
`;

t.test("each request carries who sent it", async (t) => {
  const { where, socketPath, identities } = await listening(t, {
    listen: loopback,
    tokenFile: tokenFile("names", named),
  });
  await send({ socketPath, path: "/v1/eips" });
  await send({ ...where, path: "/v1/eips" }, writer);
  await send({ ...where, path: "/v1/eips" }, "next");
  await send({ ...where, path: "/v1/eips" }, reader);
  await send({ ...where, path: "/livez" }, reader);
  await send({ ...where, path: "/v1/eips" }, "wrong");
  const anonymous = { kind: "anonymous" };
  t.strictSame(identities, [
    { kind: "socket", uid: process.geteuid?.(), pid: process.pid },
    { kind: "token", name: "controller" },
    { kind: "token", name: "controller" },
    { kind: "token", name: "prometheus" },
    anonymous,
    anonymous,
  ]);

  const local = { ...where, method: "POST", path: "/v1/kube-ovn/nat-gateway" };
  t.match(await send(local), { status: 401 }, "a path of the socket alone: no word of it without a token");
  t.match(await send(local, writer), { status: 403 });
  t.match(identities.at(-1), { kind: "token", name: "controller" }, "who tried is known");
  const plain = await listening(t, { listen: loopback, tokenFile: tokenFile("plain", `${token}\n`) });
  await send({ ...plain.where, method: "PUT", path: "/v1/eips/a" }, token);
  t.strictSame(plain.identities, [{ kind: "token", name: "default" }]);
});

/** Every route of the table, with something for each parameter. */
function requestsOf({ api }: TestApi): readonly { readonly method: string; readonly path: string }[] {
  return api.routes.map(({ method, url }) => ({ method, path: pathOf(url) }));
}

/** A stream of events would not end. */
const pathOf = (url: string) => (url === "/v1/events" ? `${url}?follow=false` : url.replaceAll(/:\w+/g, "x"));

t.test("the role read reaches no route that writes, and every other", async (t) => {
  const made = await listening(t, {
    listen: loopback,
    tokenFile: tokenFile("roles", named),
    rateLimit: { max: 1_000_000, windowMs: 10_000 },
  });
  const requests = requestsOf(made);
  const isRead = ({ method }: { readonly method: string }) => method === "GET" || method === "HEAD";
  const writes = requests.filter((one) => !isRead(one));
  t.ok(writes.length > 15, String(writes.length));
  for (const one of writes) {
    const answer = await send({ ...made.where, ...one }, reader);
    t.match(answer, { status: 403, code: "forbidden" }, `${one.method} ${one.path}`);
  }
  for (const method of ["PATCH", "QUERY", "DELETE"])
    t.match(await send({ ...made.where, method, path: "/v1/status" }, reader), { status: 403 }, method);
  t.same(made.state.journal, [], "nothing was written");
  t.same(made.reconciler.wakes, []);
  for (const one of requests.filter(isRead)) {
    const { status } = await send({ ...made.where, ...one }, reader);
    t.ok(status !== 401 && status !== 403, `${one.method} ${one.path}: ${status}`);
  }
});
