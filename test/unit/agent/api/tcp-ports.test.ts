/** The TCP ports of the API while the kernel does not guard them: they stay closed, and open as soon as it does. */
import { copyFileSync } from "node:fs";
import { request } from "node:http";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import t, { type Test } from "tap";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { certificates, hasOpenssl } from "../../../support/certificates.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const reasons = {
  "the kernel refuses the table": new GatewayError("rules-refused", "EPERM"),
  "the time is over": new DOMException("The operation was aborted due to timeout", "TimeoutError"),
  "a tool cannot be started": Object.assign(new Error("spawn iptables-legacy-save ENOENT"), {
    code: "ENOENT",
  }),
} as const;

/** An API whose guard fails until told otherwise. */
function unguarded(t: Test, error: unknown, settings: Parameters<typeof testApi>[0] = {}) {
  const guard = {
    ports: [],
    open: [],
    attempts: 0,
    error: error as unknown,
    /** Called in the midst of an attempt. */
    meanwhile: async () => {},
    async ensure() {
      this.attempts++;
      await this.meanwhile();
      if (this.error !== undefined) throw this.error;
    },
  };
  const made = testApi(
    { listen: [{ host: "127.0.0.1", port: 0 }], guardRetryMs: 2, ...settings },
    { guard: guardOf(guard) },
  );
  t.teardown(() => made.api.close());
  return { ...made, guard };
}

/** What is admitted depends on the kernel's word of arrival: loopback is. */
function guardOf(guard: { ensure(): Promise<void> }) {
  return { ports: [], open: [], ensure: () => guard.ensure() };
}

function isLive(options: { readonly socketPath: string } | { readonly host: string; readonly port: number }) {
  return new Promise<boolean>((resolve) => {
    request({ agent: false, path: "/livez", ...options }, (response) => resolve(response.statusCode === 200))
      .once("error", () => resolve(false))
      .end();
  });
}

function whereOf(addresses: readonly string[]) {
  const [host = "", port] = (addresses[1] ?? "").split(":");
  return { host, port: Number(port) };
}

for (const [what, error] of Object.entries(reasons))
  t.test(`${what}: from ApiUnguarded to guarded`, async (t) => {
    const { api, guard, socketPath, lines } = unguarded(t, error);
    await api.listen();
    t.ok(await isLive({ socketPath }), "the socket works");
    t.same(api.addresses, [socketPath]);
    t.match(api.degradations, [{ reason: "ApiUnguarded", message: error.message }]);
    while (guard.attempts < 5) await new Promise(setImmediate);
    t.equal(lines.filter(({ level }) => level === 40).length, 1, "it is told once");
    t.same(api.addresses, [socketPath]);
    guard.error = undefined;
    while (api.degradations.length > 0) await new Promise(setImmediate);
    t.ok(await isLive(whereOf(api.addresses)));
    const { attempts } = guard;
    await new Promise((resolve) => setTimeout(resolve, 10));
    t.equal(guard.attempts, attempts, "a pass looks after it from now on");
  });

t.test("a port that another program took meanwhile: none opens, until it is given back", async (t) => {
  const rival = await listening();
  const address = rival.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const listen = [
    { host: "127.0.0.1", port: 0 },
    { host: "127.0.0.1", port },
  ];
  const { api, guard, socketPath } = unguarded(t, reasons["the kernel refuses the table"], { listen });
  await api.listen();
  guard.error = undefined;
  while (!/EADDRINUSE/.test(api.degradations[0]?.message ?? "")) await new Promise(setImmediate);
  t.same(api.addresses, [socketPath]);
  rival.close();
  while (api.degradations.length > 0) await new Promise(setImmediate);
  t.equal(api.addresses.length, 3);
  t.ok(await isLive({ host: "127.0.0.1", port }));
});

t.test("closed in the midst of an attempt it leaves nothing open", async (t) => {
  const { api, guard } = unguarded(t, reasons["the kernel refuses the table"]);
  await api.listen();
  const closed = new Promise<void>((resolve) => {
    guard.meanwhile = async () => {
      guard.error = undefined;
      await api.close();
      resolve();
    };
  });
  await closed;
  await new Promise((resolve) => setTimeout(resolve, 10));
  t.same(api.addresses, []);
});

t.test("certificates of now, not of the start", { skip: !hasOpenssl() && "no openssl" }, async (t) => {
  const directory = temporaryDirectory("ports");
  const [first, renewed] = ["first", "renewed"].map((name) => certificates(directory)(name));
  if (first === undefined || renewed === undefined) return;
  const tls = { certFile: join(directory, "cert"), keyFile: join(directory, "key"), clientCaFile: undefined };
  const use = ({ cert, key }: typeof first) => {
    copyFileSync(cert, tls.certFile);
    copyFileSync(key, tls.keyFile);
  };
  use(first);
  const made = unguarded(t, reasons["the time is over"], { tls, certificateRecheckMs: 2 });
  await made.api.listen();
  use(renewed);
  while (made.guard.attempts < 20) await new Promise((resolve) => setTimeout(resolve, 2));
  made.guard.error = undefined;
  while (made.api.degradations.length > 0) await new Promise(setImmediate);
  const served = await new Promise<string>((resolve, reject) => {
    const socket = connect({ ...whereOf(made.api.addresses), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN as string);
      socket.destroy();
    }).once("error", reject);
  });
  t.equal(served, "renewed");
});

function listening(): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}
