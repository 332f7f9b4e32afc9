/** What the audit log says of each request, and `GET /v1/audit`. */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import t, { type Test } from "tap";
import { AuditLog } from "../../../../agent/audit/audit-log.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const time = "2026-01-01T00:00:00.000Z";
const address = "203.0.113.10/24";

function serve(t: Test) {
  const directory = temporaryDirectory("audit");
  const path = join(directory, "audit.log");
  const audit = new AuditLog({
    path,
    maxBytes: 1024 * 1024,
    now: () => Date.parse(time),
    onWritten: () => undefined,
    onLost: () => undefined,
    log: { error: () => undefined, info: () => undefined } as never,
  });
  const served = testApi({}, { audit });
  t.teardown(() => served.api.close());
  const send = async (
    method: "GET" | "PUT" | "POST" | "DELETE",
    url: string,
    payload?: object,
    headers = {},
  ) => await served.app.inject({ method, url, headers, ...(payload && { payload }) });
  const items = async (query = "") => (await send("GET", `/v1/audit${query}`)).json().items;
  const take = async () => (await items()).at(-1);
  return { ...served, audit, path, send, items, take };
}

t.test("a write: who, what, and from which revision to which", async (t) => {
  const { send, take, items } = serve(t);
  await send("PUT", "/v1/eips/a?wait=0", { address });
  t.same(await take(), {
    time,
    identity: { kind: "anonymous" },
    method: "PUT",
    path: "/v1/eips/a",
    kind: "Eip",
    name: "a",
    query: { wait: "0" },
    status: 202,
    before: { generation: 0, revision: 0 },
    after: { generation: 0, revision: 1 },
    written: 1,
    removed: 0,
  });
  const empty = { eips: [], fips: [], snats: [], dnats: [], routes: [] };
  await send("PUT", "/v1/desired", { generation: 7, ...empty });
  t.match(await take(), {
    path: "/v1/desired",
    before: { generation: 0, revision: 1 },
    after: { generation: 7, revision: 2 },
    written: 0,
    removed: 1,
  });
  await send("POST", "/v1/reconcile");
  t.match(await take(), { path: "/v1/reconcile", status: 200, after: { generation: 7, revision: 2 } });
  await send("POST", "/v1/import?from=kernel&adopt=true");
  t.match(await take(), { path: "/v1/import", query: { from: "kernel", adopt: "true" }, status: 200 });
  await send("POST", "/v1/leases/renew", { eips: ["none"] });
  t.match(await take(), { path: "/v1/leases/renew", status: 404, code: "not-found" });
  await send("GET", "/v1/eips");
  await send("GET", "/v1/none");
  t.equal((await items()).length, 5, "reads have no record");
});

t.test("what is refused has its code, and no secret of its request", async (t) => {
  const { send, take, path, state } = serve(t);
  await send("DELETE", "/v1/eips/none");
  t.match(await take(), { status: 404, code: "not-found", name: "none", after: { revision: 0 } });
  await send("PUT", `/v1/eips/${"n".repeat(900)}`, { address });
  t.match(await take(), { status: 422, code: "invalid", name: "n".repeat(253) });
  await send(
    "PUT",
    "/v1/eips/a?token=Secret1",
    { address, password: "Secret2" },
    { authorization: "Bearer Secret3" },
  );
  t.match(await take(), { status: 422, code: "invalid", path: "/v1/eips/a" });
  t.notMatch(readFileSync(path, "utf8"), /Secret/);
  state.failure = new GatewayError("storage-unavailable", "full");
  await send("PUT", "/v1/eips/a", { address });
  t.match(await take(), { status: 503, code: "storage-unavailable" });
});

t.test("whoever has no access cannot fill the log", async (t) => {
  const { send, items } = serve(t);
  for (let count = 0; count < 50; count++)
    await send("PUT", "/v1/eips/a", { address }, { origin: "http://evil" });
  await send("PUT", "/v1/eips/a", { address });
  const records = await items();
  t.match(records[0], { status: 403, code: "forbidden" });
  t.ok(records.length < 5, `${records.length} records`);
  t.match(records.at(-1), { status: 202 });
});

t.test("the process at the other end of the socket; also if it is gone before the answer", async (t) => {
  const { api, socketPath, board, take, state } = serve(t);
  await api.listen();
  const put = request({ socketPath, method: "PUT", path: "/v1/eips/a?wait=1m", agent: false });
  put.setHeader("content-type", "application/json");
  put.on("error", () => undefined);
  put.end(JSON.stringify({ address }));
  while (board.waiting === 0) await new Promise(setImmediate);
  put.destroy();
  board.finish("timeout");
  while ((await take()) === undefined) await new Promise(setImmediate);
  const identity = { kind: "socket", uid: process.getuid?.(), pid: process.pid };
  t.match(await take(), { identity, status: 202, after: { revision: state.current.desired.revision } });
  t.equal((await take()).client, undefined);
});

t.test("GET /v1/audit", async (t) => {
  const { send, items, audit } = serve(t);
  for (let count = 0; count < 5; count++) await send("DELETE", `/v1/eips/e${count}`);
  t.same(
    (await items("?limit=2")).map(({ name }: { name: string }) => name),
    ["e3", "e4"],
  );
  t.equal((await items("?since=10m")).length, 5);
  t.equal((await items(`?since=${time}`)).length, 5);
  t.equal((await items("?since=2026-01-01T00:00:01Z")).length, 0);
  for (const [query, pointer] of [
    ["since=yesterday", "/query/since"],
    ["since=2026-13-01T00:00:00Z", "/query/since"],
    ["limit=0", "/query/limit"],
  ])
    t.match((await send("GET", `/v1/audit?${query}`)).json(), { status: 422, errors: [{ pointer }] });
  await audit.stop();
  t.same((await testApi().app.inject("/v1/audit")).json(), { enabled: false, items: [] });
});
