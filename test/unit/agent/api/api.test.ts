import t from "tap";
import { publicCodes } from "../../../../agent/api/problem.ts";
import type { Change } from "../../../../lib/model/change.ts";
import { errorCodes, GatewayError } from "../../../../lib/model/errors.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import type { InterfaceName, ObjectId } from "../../../../lib/model/names.ts";
import { largeSet, type TestApi, testApi } from "../../../support/api-fakes.ts";

type Method = "GET" | "PUT" | "POST" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH";

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into documents by path
  readonly body: any;
}

interface Options {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

async function ask({ app }: TestApi, method: Method, url: string, options: Options = {}): Promise<Answer> {
  const isRaw = typeof options.body === "string";
  const response = await app.inject({
    method,
    url,
    headers: { ...(isRaw && { "content-type": "application/json" }), ...options.headers },
    ...(options.body !== undefined && { payload: options.body as string | object }),
  });
  const isJson = String(response.headers["content-type"]).includes("json");
  return {
    status: response.statusCode,
    headers: response.headers,
    text: response.body,
    body: isJson && response.body !== "" ? response.json() : undefined,
  };
}

const eipA = { address: "203.0.113.10/24" };
const fipA = { eip: "eip-a", internalIp: "10.0.1.5" };
const emptySet = { generation: 1, eips: [], fips: [], snats: [], dnats: [], routes: [] };

/** An API whose store holds eips/eip-a and fips/fip-a, at revision 2. */
async function populated(settings: Parameters<typeof testApi>[0] = {}): Promise<TestApi> {
  const api = testApi(settings);
  await ask(api, "PUT", "/v1/eips/eip-a", { body: eipA });
  await ask(api, "PUT", "/v1/fips/fip-a", { body: fipA });
  return api;
}

t.test("every refusal: status, code, pointer, and nothing changed", async (t) => {
  const withSet = (change: object) => ({ body: { ...emptySet, ...change } });
  const cases: readonly {
    readonly name: string;
    readonly ask: readonly [Method, string, Options?];
    readonly code: string;
    readonly pointers?: readonly string[];
    readonly arrange?: (api: TestApi) => unknown;
  }[] = [
    { name: "half a body", ask: ["PUT", "/v1/desired", { body: '{"generation":' }], code: "malformed-json" },
    { name: "an empty body", ask: ["PUT", "/v1/desired", { body: "" }], code: "malformed-json" },
    { name: "no body", ask: ["PUT", "/v1/eips/eip-a"], code: "malformed-json" },
    { name: "null", ask: ["PUT", "/v1/eips/eip-a", { body: "null" }], code: "invalid", pointers: [""] },
    {
      name: "null for a batch",
      ask: ["POST", "/v1/batch", { body: " null " }],
      code: "invalid",
      pointers: [""],
    },
    {
      name: "a compressed body",
      ask: ["PUT", "/v1/eips/eip-a", { body: eipA, headers: { "content-encoding": "gzip" } }],
      code: "unsupported-media-type",
    },
    {
      name: "a poisoned prototype",
      ask: ["PUT", "/v1/eips/eip-a", { body: '{"address":"203.0.113.9/24","__proto__":{}}' }],
      code: "malformed-json",
    },
    {
      name: "a key twice",
      ask: ["POST", "/v1/batch", { body: '{"delete":{"fips":["fip-a"],"fips" :[]}}' }],
      code: "malformed-json",
    },
    {
      name: "depth without end",
      ask: ["POST", "/v1/batch", { body: "[".repeat(100_000) + "]".repeat(100_000) }],
      code: "malformed-json",
    },
    {
      name: "another media type",
      ask: ["PUT", "/v1/eips/eip-a", { body: "address: 1", headers: { "content-type": "text/yaml" } }],
      code: "unsupported-media-type",
    },
    {
      name: "an array as the body",
      ask: ["PUT", "/v1/eips/eip-a", { body: "[]" }],
      code: "invalid",
      pointers: [""],
    },
    {
      name: "an unknown field",
      ask: ["PUT", "/v1/eips/eip-a", { body: { ...eipA, qos: {} } }],
      code: "invalid",
      pointers: ["/qos"],
    },
    {
      name: "a missing field",
      ask: ["PUT", "/v1/fips/fip-a", { body: { eip: "eip-a" } }],
      code: "invalid",
      pointers: ["/internalIp"],
    },
    {
      name: "a name that is not the path's",
      ask: ["PUT", "/v1/eips/eip-a", { body: { ...eipA, name: "eip-b" } }],
      code: "invalid",
      pointers: ["/name"],
    },
    {
      name: "a name that is none",
      ask: ["PUT", "/v1/eips/Eip_A", { body: eipA }],
      code: "invalid",
      pointers: ["/name"],
    },
    {
      name: "nothing is coerced",
      ask: [
        "PUT",
        "/v1/dnats/d",
        { body: { eip: "eip-a", protocol: "TCP", externalPort: "80", internalIp: 1, internalPort: 0 } },
      ],
      code: "invalid",
      pointers: ["/protocol", "/externalPort", "/internalIp", "/internalPort"],
    },
    {
      name: "a loopback",
      ask: ["PUT", "/v1/fips/fip-b", { body: { eip: "eip-b", internalIp: "127.0.0.1" } }],
      code: "invalid",
      pointers: ["/internalIp"],
    },
    {
      name: "faults all over a full set",
      ask: [
        "PUT",
        "/v1/desired",
        withSet({
          fips: [
            { ...fipA, name: "a" },
            { ...fipA, name: "b", internalIp: "10.0.0.256", "x/y~z": 1 },
          ],
        }),
      ],
      code: "invalid",
      pointers: ["/fips/1/internalIp", "/fips/1/x~1y~0z"],
    },
    {
      name: "a full set without an array",
      ask: ["PUT", "/v1/desired", { body: { ...emptySet, routes: undefined } }],
      code: "invalid",
      pointers: ["/routes"],
    },
    {
      name: "a full set with a loopback deep inside",
      ask: ["PUT", "/v1/desired", withSet({ fips: [{ name: "a", eip: "e", internalIp: "127.1.2.3" }] })],
      code: "invalid",
      pointers: ["/fips/0/internalIp"],
    },
    {
      name: "a batch of names that are none",
      ask: ["POST", "/v1/batch", { body: { delete: { fips: ["ok", "-no"] } } }],
      code: "invalid",
      pointers: ["/delete/fips/1"],
    },
    {
      name: "a wait that is none",
      ask: ["PUT", "/v1/eips/eip-z?wait=5", { body: eipA }],
      code: "invalid",
      pointers: ["/query/wait"],
    },
    {
      name: "a wait beyond the limit",
      ask: ["DELETE", "/v1/fips/fip-a?wait=6m"],
      code: "invalid",
      pointers: ["/query/wait"],
    },
    {
      name: "a parameter twice",
      ask: ["DELETE", "/v1/fips/fip-a?wait=1s&wait=2s"],
      code: "invalid",
      pointers: ["/query/wait"],
    },
    {
      name: "a dry run that is neither",
      ask: ["PUT", "/v1/eips/eip-z?dryRun=yes", { body: eipA }],
      code: "invalid",
      pointers: ["/query/dryRun"],
    },
    {
      name: "unknown query parameters",
      ask: ["DELETE", "/v1/fips/fip-a?casade=true"],
      code: "invalid",
      pointers: ["/query/casade"],
    },
    {
      name: "cascade where nothing hangs on it",
      ask: ["DELETE", "/v1/fips/fip-a?cascade=true"],
      code: "invalid",
      pointers: ["/query/cascade"],
    },
    {
      name: "a query where none is taken",
      ask: ["GET", "/v1/status?x=1"],
      code: "invalid",
      pointers: ["/query/x"],
    },
    {
      name: "a filter that is none",
      ask: ["GET", "/v1/eips?ready=1"],
      code: "invalid",
      pointers: ["/query/ready"],
    },
    {
      name: "a limit that is none",
      ask: ["GET", "/v1/eips/eip-a/connections?limit=1001"],
      code: "invalid",
      pointers: ["/query/limit"],
    },
    {
      name: "a uid that is none",
      ask: ["DELETE", "/v1/fips/fip-a?uid=a%20b"],
      code: "invalid",
      pointers: ["/query/uid"],
    },
    {
      name: "a tag without quotes",
      ask: ["PUT", "/v1/eips/eip-z", { body: eipA, headers: { "if-match": "2" } }],
      code: "invalid",
      pointers: ["/headers/if-match"],
    },
    {
      name: "a release with a tag without quotes",
      ask: ["POST", "/v1/inventory/203.0.113.99/release", { headers: { "if-match": "2" } }],
      code: "invalid",
      pointers: ["/headers/if-match"],
    },
    {
      name: "a lease of a name that is none",
      ask: ["POST", "/v1/leases/renew", { body: { eips: ["A"] } }],
      code: "invalid",
      pointers: ["/eips/0"],
    },
    {
      name: "a packet from nowhere",
      ask: ["GET", "/v1/explain?protocol=udp"],
      code: "invalid",
      pointers: ["/query/from", "/query/to"],
    },
    {
      name: "a packet with bad ends",
      ask: ["GET", "/v1/explain?from=10.0.1&to=x&port=http"],
      code: "invalid",
      pointers: ["/query/from", "/query/to", "/query/port"],
    },
    {
      name: "ports that are none",
      ask: ["GET", "/v1/explain?from=10.0.1.5&to=198.51.100.7&port=0&sourcePort=65536"],
      code: "invalid",
      pointers: ["/query/port", "/query/sourcePort"],
    },
    {
      name: "a ping with a port",
      ask: ["GET", "/v1/explain?from=10.0.1.5&to=198.51.100.7&protocol=icmp&port=1"],
      code: "invalid",
      pointers: ["/query/port"],
    },
    {
      name: "the way in, from somewhere, without a port",
      ask: ["GET", "/v1/explain?eip=eip-a&from=198.51.100.7"],
      code: "invalid",
      pointers: ["/query/from", "/query/port"],
    },
    { name: "the way in to no Eip", ask: ["GET", "/v1/explain?eip=203.0.113.99&port=80"], code: "not-found" },
    { name: "no such route", ask: ["GET", "/v2/eips"], code: "not-found" },
    { name: "no such method", ask: ["PATCH", "/v1/eips/eip-a", { body: {} }], code: "method-not-allowed" },
    { name: "options", ask: ["OPTIONS", "/v1/eips"], code: "method-not-allowed" },
    { name: "a path that does not decode", ask: ["GET", "/v1/eips/%zz"], code: "not-found" },
    { name: "a name without end", ask: ["GET", `/v1/eips/${"a".repeat(2_000)}`], code: "not-found" },
    { name: "no such object", ask: ["GET", "/v1/eips/eip-b"], code: "not-found" },
    { name: "an impossible name", ask: ["DELETE", "/v1/eips/EIP"], code: "not-found" },
    { name: "a delete of what is absent", ask: ["DELETE", "/v1/fips/fip-b"], code: "not-found" },
    { name: "connections of no EIP", ask: ["GET", "/v1/eips/eip-b/connections"], code: "not-found" },
    {
      name: "release of what is nowhere",
      ask: ["POST", "/v1/inventory/203.0.113.99/release"],
      code: "not-found",
    },
    { name: "release of no address", ask: ["POST", "/v1/inventory/203.0.113/release"], code: "not-found" },
    {
      name: "a lease of no EIP",
      ask: ["POST", "/v1/leases/renew", { body: { eips: ["eip-b"] } }],
      code: "not-found",
    },
    { name: "a second FIP", ask: ["PUT", "/v1/fips/fip-b", { body: fipA }], code: "conflict" },
    {
      name: "release of a desired EIP",
      ask: ["POST", "/v1/inventory/203.0.113.10/release"],
      code: "conflict",
    },
    { name: "an EIP in use", ask: ["DELETE", "/v1/eips/eip-a"], code: "in-use" },
    {
      name: "release of the gateway's own address",
      ask: ["POST", "/v1/inventory/203.0.113.1/release"],
      code: "in-use",
      arrange: ({ reconciler }) => {
        reconciler.ownAddresses = new Set(["203.0.113.1" as Ip]);
        reconciler.network = {
          links: [],
          routes: [],
          sysctls: new Map(),
          addresses: [
            {
              interface: "net1",
              address: "203.0.113.1",
              prefixLength: 24,
              isSecondary: false,
              label: "",
            } as never,
          ],
        };
      },
    },
    {
      name: "a generation of yesterday",
      ask: ["PUT", "/v1/desired", withSet({ generation: 4 })],
      code: "stale-generation",
      arrange: (api) => ask(api, "PUT", "/v1/desired", withSet({ generation: 5 })),
    },
    {
      name: "a write before adoption",
      ask: ["PUT", "/v1/eips/eip-z", { body: { address: "203.0.113.20/24" } }],
      code: "not-adopted",
      arrange: ({ reconciler }) => {
        reconciler.isUnadopted = true;
      },
    },
    {
      name: "a revision that moved on",
      ask: ["PUT", "/v1/eips/eip-z", { body: eipA, headers: { "if-match": '"1"' } }],
      code: "precondition-failed",
    },
    {
      name: "a weak tag",
      ask: ["DELETE", "/v1/fips/fip-a", { headers: { "if-match": 'W/"2"' } }],
      code: "precondition-failed",
    },
    {
      name: "a release, of a revision that moved on",
      ask: ["POST", "/v1/inventory/203.0.113.99/release", { headers: { "if-match": '"1"' } }],
      code: "precondition-failed",
    },
    {
      name: "a full disk",
      ask: ["PUT", "/v1/eips/eip-z", { body: { address: "203.0.113.20/24" } }],
      code: "storage-unavailable",
      arrange: ({ state }) => {
        state.failure = new GatewayError("storage-unavailable", "no space left on device");
      },
    },
    {
      name: "a kernel that does not answer",
      ask: ["POST", "/v1/reconcile"],
      code: "internal",
      arrange: ({ reconciler }) => {
        reconciler.failure = new GatewayError("netlink-failed", "cut short");
      },
    },
    {
      name: "a bug",
      ask: ["GET", "/v1/plan"],
      code: "internal",
      arrange: ({ reconciler }) => {
        reconciler.failure = new TypeError("a secret path");
      },
    },
    {
      name: "a page in a browser",
      ask: ["GET", "/v1/desired", { headers: { origin: "http://example.com" } }],
      code: "forbidden",
    },
  ];
  for (const {
    name,
    ask: [method, url, options],
    code,
    pointers,
    arrange,
  } of cases) {
    await t.test(`${code}: ${name}`, async (t) => {
      const api = await populated();
      await arrange?.(api);
      const before = api.state.current;
      api.reconciler.wakes = [];
      api.lines.length = 0;
      const { status, headers, body, text } = await ask(api, method, url, options);
      t.equal(body?.code, code, text.slice(0, 300));
      t.equal(status, errorCodes[code as keyof typeof errorCodes].status);
      t.equal(body.status, status);
      t.equal(body.title, errorCodes[code as keyof typeof errorCodes].title);
      t.equal(body.type, `urn:natgw:problem:${code}`);
      t.match(headers["content-type"], "application/problem+json");
      t.same(
        body.errors?.map((issue: { pointer: string }) => issue.pointer),
        pointers,
      );
      t.equal(api.state.current, before, "the state is the very same");
      t.same(api.reconciler.wakes, [], "nobody is woken");
      t.equal(api.lines.length, 1, "one line in the log");
      t.notMatch(text, "secret", "what went wrong inside stays inside");
    });
  }
});

t.test("gone: a late PUT of a deleted uid", async (t) => {
  const api = await populated();
  await ask(api, "PUT", "/v1/fips/fip-b", { body: { ...fipA, eip: "eip-b", uid: "u1" } });
  t.equal((await ask(api, "DELETE", "/v1/fips/fip-b?uid=u2")).body.code, "conflict");
  t.equal((await ask(api, "DELETE", "/v1/fips/fip-b?uid=u1")).status, 204);
  const before = api.state.current;
  const late = await ask(api, "PUT", "/v1/fips/fip-b", { body: { ...fipA, eip: "eip-b", uid: "u1" } });
  t.equal(late.status, 410);
  t.equal(late.body.code, "gone");
  t.equal(api.state.current, before);

  const absent = await ask(api, "DELETE", "/v1/fips/fip-c?uid=u3");
  t.equal(absent.status, 404, "absent, and remembered all the same");
  const create = await ask(api, "PUT", "/v1/fips/fip-c", { body: { ...fipA, eip: "eip-c", uid: "u3" } });
  t.equal(create.status, 410);
});

t.test("too-large and rate-limited", async (t) => {
  const api = testApi({ bodies: { bytes: 1_000 }, rateLimit: { max: 3, windowMs: 60_000 } });
  const large = await ask(api, "PUT", "/v1/desired", { body: largeSet(50) });
  t.equal(large.status, 413);
  t.equal(large.body.code, "too-large");
  await ask(api, "GET", "/v1/status");
  await ask(api, "GET", "/v1/nowhere");
  const limited = await ask(api, "PUT", "/v1/eips/eip-a", { body: eipA });
  t.equal(limited.status, 429);
  t.equal(limited.body.code, "rate-limited");
  t.match(limited.headers["retry-after"], /^[1-9][0-9]*$/);
  t.equal(api.state.current.desired.eips.size, 0);
  t.equal((await ask(api, "GET", "/livez")).status, 200, "probes are always answered");
});

t.test("the cost of a hostile body and of its answer is bounded", async (t) => {
  const api = testApi();
  const bad = await ask(api, "PUT", "/v1/desired", {
    body: { ...emptySet, eips: Array.from({ length: 1_000 }, () => ({})) },
  });
  t.equal(bad.body.errors.length, 100);
  const wide = await ask(api, "PUT", "/v1/desired", { body: `[${"0,".repeat(200_001)}0]` });
  t.equal(wide.body.code, "too-large");
  const many = await ask(api, "PUT", "/v1/desired", {
    body: { ...emptySet, eips: Array.from({ length: 50_001 }, () => 0) },
  });
  t.same(
    many.body.errors.map((issue: { pointer: string }) => issue.pointer),
    ["/eips"],
  );
});

t.test("single writes", async (t) => {
  const api = testApi();
  const { board, reconciler } = api;
  const first = await ask(api, "PUT", "/v1/eips/eip-a", { body: { ...eipA, name: "eip-a", uid: "u1" } });
  t.equal(first.status, 202, "never 201, and not in the kernel yet");
  t.equal(first.headers.etag, '"1"');
  t.match(first.body, { kind: "Eip", name: "eip-a", uid: "u1", revision: 1, status: { ready: false } });
  t.same(first.body.spec, eipA, "name and uid stand beside the spec");
  t.same(reconciler.wakes, ["write"]);

  board.ready.add("eips/eip-a");
  const again = await ask(api, "PUT", "/v1/eips/eip-a", { body: { ...eipA, uid: "u1" } });
  t.equal(again.status, 200, "nothing was left to do");
  t.equal(again.headers.etag, '"1"');
  t.equal(reconciler.wakes.length, 1);
  await ask(api, "PUT", "/v1/eips/eip-a?wait=2s", { body: eipA });
  const ids = ["eips/eip-a"] as const;
  t.same(
    reconciler.askedAgain,
    [0, 0, 2_000].map((timeoutMs) => ({ ids, timeoutMs })),
    "the wire is asked again, changed or not, and its answer is waited for",
  );

  const snat = await ask(api, "PUT", "/v1/snats/s", { body: { eip: "eip-a", internalCIDR: "10.0.1.9/24" } });
  t.equal(snat.body.spec.internalCIDR, "10.0.1.0/24", "the canonical form");
  t.notOk("uid" in snat.body, "no uid, no field");

  const read = await ask(api, "GET", "/v1/snats/s");
  t.same(read.body, snat.body);
  t.equal(read.headers.etag, '"2"');

  const matched = await ask(api, "DELETE", "/v1/snats/s", { headers: { "if-match": '"1", "2"' } });
  t.equal(matched.status, 204);
  t.equal(matched.text, "");
  t.equal(matched.headers.etag, '"3"');
  t.equal((await ask(api, "GET", "/v1/snats/s")).status, 404);

  const json = { "content-type": "application/json" };
  t.equal(
    (await ask(api, "DELETE", "/v1/eips/eip-a", { headers: json })).status,
    204,
    "a header without a body",
  );
});

t.test("waiting", async (t) => {
  const api = await populated();
  const { board } = api;
  const put = (query: string) => ask(api, "PUT", `/v1/fips/fip-a${query}`, { body: fipA });

  board.outcome = "done";
  board.ready.add("fips/fip-a");
  const done = await put("?wait=5s");
  t.equal(done.status, 200);
  t.equal(done.body.status.ready, true);
  t.same(board.waited.at(-1), { ready: ["fips/fip-a"], gone: [], timeoutMs: 5_000 });

  board.outcome = undefined;
  board.ready.clear();
  board.reasons.set("fips/fip-a", "EipNotFound");
  const settled = put("?wait=5m");
  while (board.waiting === 0) await new Promise(setImmediate);
  board.finish("settled");
  t.match(
    await settled,
    { status: 202, body: { status: { ready: false } } },
    "as soon as it cannot become Ready",
  );
  t.equal((await put("?wait=5ms")).status, 202, "time ran out");
  t.equal((await put("?wait=0")).status, 202);

  board.outcome = "timeout";
  const slow = await ask(api, "DELETE", "/v1/fips/fip-a?wait=10ms");
  t.equal(slow.status, 202, "deleted, and not gone from the kernel yet");
  t.match(slow.body, { kind: "Fip", name: "fip-a", spec: fipA, status: { ready: false } });
  t.same(board.waited.at(-1)?.gone, ["fips/fip-a"]);
  board.outcome = "done";
  t.equal((await ask(api, "DELETE", "/v1/eips/eip-a?wait=1s")).status, 204);
});

t.test("waiting requests are answered when the agent stops", async (t) => {
  const api = await populated();
  const waiting = ask(api, "PUT", "/v1/fips/fip-a?wait=5m", { body: fipA });
  while (api.board.waiting === 0) await new Promise(setImmediate);
  await api.api.close();
  await api.api.close();
  const answer = await waiting;
  t.equal(answer.status, 202);
  t.equal(answer.headers.connection, "close");
});

t.test("cascade", async (t) => {
  const api = await populated();
  api.board.outcome = "timeout";
  const answer = await ask(api, "DELETE", "/v1/eips/eip-a?cascade=true&wait=1ms");
  t.match(answer, { status: 202, body: { kind: "Eip", name: "eip-a" } });
  t.same(new Set(api.board.waited.at(-1)?.gone), new Set(["eips/eip-a", "fips/fip-a"]));
  t.equal(api.state.current.desired.fips.size, 0);
});

t.test("full sets", async (t) => {
  const api = testApi();
  const { board, reconciler } = api;
  const set = largeSet(150, 7);
  const first = await ask(api, "PUT", "/v1/desired", { body: set });
  t.equal(first.status, 202);
  t.match(first.body, { revision: 1, generation: 7, ready: 0, notReadyTotal: 300 });
  t.equal(first.body.notReady.length, 100);
  t.match(first.body.notReady[0], { kind: "Eip", name: "eip-0", status: { ready: false } });
  t.equal(first.headers.etag, '"1"');

  const replay = await ask(api, "PUT", "/v1/desired", { body: set, headers: { "if-match": '"99"' } });
  t.equal(replay.status, 200, "a replay, looked at before If-Match");
  t.equal(replay.headers.etag, '"1"');
  t.equal((await ask(api, "PUT", "/v1/desired?wait=1ms", { body: set })).status, 202, "a replay that waits");
  t.equal(reconciler.wakes.length, 1, "nothing to do for the reconciler");
  t.same(
    reconciler.askedAgain.map(({ ids }) => ids.length),
    [300, 300, 300],
    "but to ask the wire again",
  );

  const other = await ask(api, "PUT", "/v1/desired", { body: { ...set, fips: [] } });
  t.match(other, { status: 409, body: { code: "stale-generation" } });
  const restored = await ask(api, "PUT", "/v1/desired", {
    body: { ...largeSet(2, 3) },
    headers: { "if-match": '"1"' },
  });
  t.match(
    restored,
    { status: 202, body: { generation: 3, revision: 2 } },
    "a matching If-Match admits a lower one",
  );
  t.equal(board.waited.at(-1)?.gone.length, 296);

  const read = await ask(api, "GET", "/v1/desired");
  t.equal(read.headers.etag, '"2"');
  t.same(read.body, { ...largeSet(2, 3), gateway: {} });
  t.equal((await ask(api, "GET", "/v1/desired", { headers: { "if-none-match": 'W/"2"' } })).status, 304);
  t.equal((await ask(api, "GET", "/v1/desired", { headers: { "if-none-match": '"1"' } })).status, 200);
  const back = await ask(api, "PUT", "/v1/desired", { body: read.body });
  t.equal(back.status, 200, "what was read can be put back");

  const clash = await ask(api, "PUT", "/v1/desired", {
    body: {
      ...emptySet,
      generation: 8,
      eips: [{ name: "e", ...eipA }],
      fips: [
        { name: "f1", eip: "e", internalIp: "10.0.0.1" },
        { name: "f2", eip: "e", internalIp: "10.0.0.2" },
      ],
    },
  });
  t.match(clash, { status: 202, body: { notReadyTotal: 3 } }, "a clash inside a full set is stored");
});

t.test("every kind is handled alike, and Limits may be left out of a set", async (t) => {
  const api = await populated();
  const limit = { eip: "eip-a", direction: "ingress", rateMbit: 2.5, burstMB: 0.3 };
  const put = await ask(api, "PUT", "/v1/limits/l", { body: limit });
  t.match(put, { status: 202, body: { kind: "Limit", name: "l", spec: limit } });
  t.match(await ask(api, "GET", "/v1/limits"), { body: { items: [{ kind: "Limit", name: "l" }] } });
  t.match(await ask(api, "PUT", "/v1/limits/m", { body: { ...limit, rateMbit: 0 } }), {
    status: 422,
    body: { errors: [{ pointer: "/rateMbit" }] },
  });
  t.match(await ask(api, "PUT", "/v1/limits/m", { body: limit }), {
    status: 409,
    body: { object: "limits/l" },
  });
  await ask(api, "DELETE", "/v1/fips/fip-a");
  t.match(await ask(api, "DELETE", "/v1/eips/eip-a"), { status: 409, body: { users: ["limits/l"] } });
  t.match((await ask(api, "GET", "/v1/desired")).body, { limits: [{ name: "l" }] });
  await ask(api, "PUT", "/v1/desired", { body: emptySet });
  const { body } = await ask(api, "GET", "/v1/desired");
  t.same(body, { ...emptySet, gateway: {} }, "left out means none, and none is left out");
  const upsert = { limits: [{ name: "m", interface: "external", direction: "egress", rateMbit: 1 }] };
  t.equal((await ask(api, "POST", "/v1/batch", { body: { upsert } })).status, 202);
  t.same([...api.state.current.desired.limits.keys()], ["m"]);
});

t.test("a write is checked against the last observation", async (t) => {
  const api = await populated({ fallbackGateway: "203.0.113.1" as Ip });
  const eclipsing = { body: { address: "10.0.1.50/25" } };
  const [name, address] = ["eth0" as InterfaceName, "10.0.1.254" as Ip];
  const addresses = [{ interface: name, address, prefixLength: 24, isSecondary: false, label: "" }];
  api.reconciler.network = { links: [], addresses, routes: [], sysctls: new Map() };
  api.reconciler.ownAddresses = new Set([address]);
  t.match(await ask(api, "PUT", "/v1/eips/x", eclipsing), { status: 409, body: { object: "subnet" } });
  const covering = { destination: "203.0.113.1/32", via: "10.0.1.5" };
  t.match(await ask(api, "PUT", "/v1/routes/x", { body: covering }), {
    status: 409,
    body: { object: "gateway", detail: /next hop/ },
  });
  api.reconciler.network = undefined;
  api.reconciler.ownAddresses = new Set();
  t.equal((await ask(api, "PUT", "/v1/eips/x", eclipsing)).status, 202, "nothing is known yet");
});

t.test("batches", async (t) => {
  const api = await populated();
  const moved = await ask(api, "POST", "/v1/batch", {
    body: { upsert: { fips: [{ name: "fip-b", ...fipA }] }, delete: { fips: ["fip-a", "never-was"] } },
  });
  t.match(moved, { status: 202, headers: { etag: '"3"' } });
  t.match(moved.body, {
    revision: 3,
    generation: 0,
    ready: 0,
    notReadyTotal: 1,
    notReady: [{ name: "fip-b" }],
  });
  t.same(api.board.waited.at(-1), { ready: ["fips/fip-b"], gone: ["fips/fip-a"], timeoutMs: 0 });
  const before = api.state.current;
  const clash = await ask(api, "POST", "/v1/batch", {
    body: {
      upsert: {
        eips: [
          { name: "eip-z", address: "203.0.113.77/24" },
          { name: "eip-b", ...eipA },
        ],
      },
    },
  });
  t.match(clash, { status: 409, body: { code: "conflict" } });
  t.equal(api.state.current, before, "all or nothing");
  t.equal((await ask(api, "POST", "/v1/batch", { body: {} })).status, 200, "nothing to do");
});

t.test("dry runs refuse, show and store nothing", async (t) => {
  const api = await populated();
  const { reconciler } = api;
  const change: Change = {
    action: "remove",
    subsystem: "rule",
    object: "fips/fip-a",
    text: "-D EXCLUSIVE_DNAT",
  };
  const tuple = {
    source: "198.51.100.7",
    destination: "203.0.113.10",
    sourcePort: 4_000,
    destinationPort: 80,
  };
  const reply = { source: "10.0.1.5", destination: "198.51.100.7", sourcePort: 80, destinationPort: 4_000 };
  const flow = { protocol: 6, original: tuple, reply, status: 0x2a, zone: 0, id: 1 } as never;
  reconciler.next = {
    changes: [change],
    changesTotal: 12,
    flows: { total: 500, items: Array(200).fill(flow) },
  };
  reconciler.wakes = [];
  const before = api.state.current;
  const calls: readonly [Method, string, unknown?][] = [
    ["DELETE", "/v1/fips/fip-a?dryRun=true"],
    ["PUT", "/v1/fips/fip-a?dryRun=true&wait=1s", { ...fipA, internalIp: "10.0.1.6" }],
    ["POST", "/v1/batch?dryRun=true", { delete: { fips: ["fip-a"] } }],
    ["PUT", "/v1/desired?dryRun=true", emptySet],
  ];
  for (const [method, url, body] of calls) {
    const answer = await ask(api, method, url, { body });
    t.equal(answer.status, 200, url);
    t.equal(answer.headers.etag, '"2"');
    t.match(answer.body, { changes: [change], changesTotal: 12, flows: { total: 500 } });
    t.equal(answer.body.flows.items.length, 100);
    t.same(answer.body.flows.items[0], {
      protocol: "tcp",
      original: { src: "198.51.100.7", dst: "203.0.113.10", sport: 4_000, dport: 80 },
      reply: { src: "10.0.1.5", dst: "198.51.100.7", sport: 80, dport: 4_000 },
      natStatus: "dnat",
    });
  }
  const put = await ask(api, "PUT", "/v1/fips/fip-a?dryRun=true", {
    body: { ...fipA, internalIp: "10.0.1.6" },
  });
  t.match(put.body, { kind: "Fip", name: "fip-a", spec: { internalIp: "10.0.1.6" }, revision: 3 });
  const set = await ask(api, "PUT", "/v1/desired?dryRun=true", { body: emptySet });
  t.match(set.body, { revision: 3, generation: emptySet.generation, notReady: [], notReadyTotal: 0 });
  t.equal(reconciler.previewed[0]?.desired.fips.size, 0, "what would be is previewed");
  t.equal(reconciler.previewed[1]?.desired.fips.values().next().value?.spec.internalIp, "10.0.1.6");
  t.match(await ask(api, "DELETE", "/v1/eips/eip-a?dryRun=true"), { status: 409, body: { code: "in-use" } });
  t.match(await ask(api, "DELETE", "/v1/fips/nope?dryRun=true&uid=u9"), { status: 404 });
  t.equal(api.state.current, before);
  t.same(reconciler.wakes, []);
});

t.test("lists filter by readiness", async (t) => {
  const api = await populated();
  await ask(api, "PUT", "/v1/eips/eip-b", { body: { address: "203.0.113.11/24" } });
  api.board.ready.add("eips/eip-b");
  const names = async (query: string) => {
    const { body } = await ask(api, "GET", `/v1/eips${query}`);
    return body.items.map((item: { name: string }) => item.name);
  };
  t.same(await names(""), ["eip-a", "eip-b"]);
  t.same(await names("?ready=true"), ["eip-b"]);
  t.same(await names("?ready=false"), ["eip-a"]);
  t.same((await ask(api, "GET", "/v1/dnats")).body, { items: [], revision: 3, eventId: api.events.id });
  const head = await ask(api, "HEAD", "/v1/eips");
  t.match(head, { status: 200, text: "", headers: { etag: '"3"' } });
});

t.test("leases", async (t) => {
  const api = testApi();
  await ask(api, "PUT", "/v1/eips/eip-a", { body: { ...eipA, leaseSeconds: 60 } });
  api.now.bootMs += 5_000;
  api.reconciler.wakes = [];
  const renewed = await ask(api, "POST", "/v1/leases/renew", { body: { eips: ["eip-a"] } });
  t.match(renewed, { status: 200, headers: { etag: '"1"' }, body: { revision: 1, renewed: ["eip-a"] } });
  t.equal(api.state.current.leases.values().next().value?.bootMs, 6_000);
  t.same(api.reconciler.wakes, [], "a heartbeat leaves nothing to do");
  t.equal(api.reconciler.askedAgain.length, 1, "nor does it ask for anything");
  api.now.bootMs += 61_000;
  await ask(api, "POST", "/v1/leases/renew", { body: { eips: ["eip-a"] } });
  t.same(api.reconciler.wakes, ["write"], "what had run out comes back");
});

t.test("the status waits for a revision", async (t) => {
  const api = await populated();
  const { board } = api;
  board.appliedRevision = 2;
  const status = (query: string) => ask(api, "GET", `/v1/status${query}`);
  const waits = board.waited.length;
  t.match(await status("?appliedRevision=3"), { status: 200 }, "without a wait at once");
  t.equal(board.waited.length, waits);
  t.match(await status("?appliedRevision=2&wait=5m"), { status: 200 }, "applied before");
  t.match(await status("?appliedRevision=3&wait=5ms"), { status: 200 }, "time ran out");
  const waiting = status("?appliedRevision=3&wait=5m");
  while (board.waiting === 0) await new Promise(setImmediate);
  board.finish("done");
  t.match(await waiting, { status: 200, body: { revision: { desired: 2 } } });
  for (const query of ["?wait=5s", "?appliedRevision=3&wait=5", "?appliedRevision=03", "?appliedRevision=-1"])
    t.equal((await status(query)).status, 422, query);
});

t.test("status, plan, reconcile, connections", async (t) => {
  const api = await populated();
  t.match(await ask(api, "GET", "/v1/status"), {
    status: 200,
    body: { version: "0.0.0", revision: { desired: 2 } },
  });
  t.match(await ask(api, "POST", "/v1/reconcile"), { status: 200, body: { reasons: ["api"], changed: 0 } });

  t.match((await ask(api, "GET", "/v1/plan")).body, { changes: [], total: 0 });
  const text = { headers: { accept: "text/plain" } };
  t.equal((await ask(api, "GET", "/v1/plan", text)).text, "Nothing to change.\n");
  api.reconciler.next = {
    changes: [
      {
        action: "add",
        subsystem: "rule",
        object: "fips/fip-a",
        text: "-A EXCLUSIVE_DNAT -d 203.0.113.10/32",
      },
      { action: "set", subsystem: "sysctl", text: "net.ipv4.ip_forward=1" },
    ],
    changesTotal: 3,
    flows: { total: 0, items: [] },
  };
  t.equal((await ask(api, "GET", "/v1/plan")).body.total, 3);
  t.equal(
    (await ask(api, "GET", "/v1/plan", text)).text,
    "+ rule    -A EXCLUSIVE_DNAT -d 203.0.113.10/32  # fips/fip-a\n" +
      "= sysctl  net.ipv4.ip_forward=1\n" +
      "... and 1 more\n3 changes\n",
  );
  for (const accept of ["*/*", "application/json, text/plain", "text/plain;q=0.5, */*"]) {
    const answer = await ask(api, "GET", "/v1/plan", { headers: { accept } });
    t.match(answer.headers["content-type"], "application/json", accept);
  }
  t.equal(api.reconciler.audits, 0);
  const audit = await ask(api, "GET", "/v1/plan?fresh=true");
  t.match(audit.body, { total: 3, flows: { total: 0, items: [] } });
  t.equal(api.reconciler.audits, 1);
  t.equal((await ask(api, "GET", "/v1/plan?fresh=1")).status, 422);
  t.equal((await ask(api, "GET", "/v1/diagnostics/rules")).text, "# rules\n");
  t.match(await ask(api, "GET", "/v1/diagnostics/passwords"), {
    status: 404,
    body: { code: "not-found", detail: /^The path does not exist: part must be one of rules, / },
  });
  t.equal(api.state.current.desired.revision, 2);

  const tuple = { source: "10.0.1.5", destination: "198.51.100.7", sourcePort: 0, destinationPort: 0 };
  api.reconciler.flows = {
    total: 7,
    flows: [{ protocol: 1, original: tuple, reply: tuple, status: 0x10, zone: 0, id: 1 } as never],
  };
  const flows = await ask(api, "GET", "/v1/eips/eip-a/connections?limit=5");
  t.match(flows.body, { total: 7, items: [{ protocol: "icmp", natStatus: "snat" }] });
  await ask(api, "GET", "/v1/eips/eip-a/connections");
  t.same(api.reconciler.limits, [5, 100]);
});

t.test("explanations and the doctor", async (t) => {
  const api = await populated();
  t.match(await ask(api, "GET", "/v1/doctor"), { status: 200, body: { checks: [] } });
  const both = "from=10.0.1.5&to=198.51.100.7";
  t.match(await ask(api, "GET", `/v1/explain?${both}&port=80`), { status: 200, body: { code: "Local" } });
  await ask(api, "GET", `/v1/explain?${both}&port=53&protocol=udp&sourcePort=1000`);
  for (const eip of ["eip-a", "203.0.113.10"]) await ask(api, "GET", `/v1/explain?eip=${eip}&port=8080`);
  await ask(api, "GET", `/v1/explain?${both}&protocol=icmp`);
  const ends = { from: "10.0.1.5", to: "198.51.100.7" };
  const inwards = { from: undefined, to: "203.0.113.10", protocol: "tcp", port: 8080, sourcePort: undefined };
  t.same(api.reconciler.questions, [
    { ...ends, protocol: "tcp", port: 80, sourcePort: undefined },
    { ...ends, protocol: "udp", port: 53, sourcePort: 1000 },
    inwards,
    inwards,
    { ...ends, protocol: "icmp", port: undefined, sourcePort: undefined },
  ]);
});

t.test("ports and top", async (t) => {
  const api = await populated();
  t.match(await ask(api, "GET", "/v1/eips/eip-a/ports"), {
    status: 200,
    body: { capacity: 64_512, destinations: [], headroom: 64_512, scannedAt: /Z$/ },
  });
  t.equal((await ask(api, "GET", "/v1/eips/no-such/ports")).status, 404);
  const item = { ip: "10.0.1.5" as Ip, live: 7, closing: 0 };
  api.flows.items = [item, item];
  t.match(await ask(api, "GET", "/v1/flows/top?by=clients&limit=1"), {
    status: 200,
    body: { by: "clients", items: [item] },
  });
  await ask(api, "GET", "/v1/flows/top?by=eips");
  t.same(api.flows.asked.slice(1), [
    { by: "clients", limit: 1 },
    { by: "eips", limit: 20 },
  ]);
  for (const [query, pointer] of [
    ["", "/query/by"],
    ["?by=pods", "/query/by"],
    ["?by=eips&limit=0", "/query/limit"],
  ] as const) {
    const { status, body } = await ask(api, "GET", `/v1/flows/top${query}`);
    t.match({ status, body }, { status: 422, body: { errors: [{ pointer }] } }, query);
  }
});

t.test("who", async (t) => {
  const api = await populated();
  const who = (query: string) => ask(api, "GET", `/v1/flows/who?${query}`);
  t.match(await who("eip=203.0.113.10&port=1024"), {
    status: 200,
    body: { items: [], log: { level: "off" } },
  });
  await who("eip=eip-a&port=0&protocol=icmp&at=2026-01-31T12:00:00%2B01:00");
  t.same(api.flows.asked, [
    { eip: "203.0.113.10", port: 1_024 },
    { eip: "203.0.113.10", port: 0, protocol: "icmp", atMs: Date.parse("2026-01-31T11:00:00Z") },
  ]);
  for (const [query, ...pointers] of [
    ["", "/query/eip", "/query/port"],
    ["eip=no-such&port=1", "/query/eip"],
    ["eip=203.0.113.10&port=65536", "/query/port"],
    ["eip=203.0.113.10&port=-1", "/query/port"],
    ["eip=203.0.113.10&port=1&protocol=gre", "/query/protocol"],
    ["eip=203.0.113.10&port=1&at=yesterday", "/query/at"],
    ["eip=203.0.113.10&port=1&at=2026-01-31T12:00:00", "/query/at"],
    ["eip=203.0.113.10&port=1&at=2026-13-31T12:00:00Z", "/query/at"],
    ["eip=no-such&port=99999&at=x", "/query/eip", "/query/port", "/query/at"],
  ] as const) {
    const { status, body } = await who(query);
    t.equal(status, 422, query);
    t.same(
      body.errors?.map(({ pointer }: { pointer: string }) => pointer),
      pointers,
      query,
    );
  }
});

t.test("inventory and release", async (t) => {
  const api = await populated({ fallbackGateway: "203.0.113.1" as Ip });
  const { reconciler, board } = api;
  reconciler.network = undefined;
  t.equal((await ask(api, "GET", "/v1/inventory")).body.observed, false);
  t.equal((await ask(api, "POST", "/v1/inventory/203.0.113.99/release")).status, 500, "nobody knows yet");

  const on = (address: string) =>
    ({ interface: "net1", address, prefixLength: 24, isSecondary: false, label: "" }) as never;
  reconciler.ownAddresses = new Set(["203.0.113.2" as Ip]);
  reconciler.orphans = new Set(["203.0.113.99" as Ip]);
  reconciler.network = {
    links: [],
    routes: [],
    sysctls: new Map(),
    addresses: [on("203.0.113.2"), on("203.0.113.99"), on("203.0.113.98")],
  };
  const { body } = await ask(api, "GET", "/v1/inventory");
  t.same(
    body.addresses.map(({ ip, role }: { ip: string; role: string }) => `${ip} ${role}`),
    ["203.0.113.1 gateway", "203.0.113.2 self", "203.0.113.10 eip", "203.0.113.99 orphan"],
  );
  t.same(body.subnets, [{ cidr: "203.0.113.0/24", capacity: 254, used: 4, free: 250 }]);

  const released = await ask(api, "POST", "/v1/inventory/203.0.113.99/release");
  t.equal(released.status, 200);
  t.match(released.body, { changes: [{ action: "remove" }], foreignRules: [/INPUT/] });
  t.match(await ask(api, "POST", "/v1/inventory/203.0.113.1/release"), {
    status: 409,
    body: { code: "in-use", detail: "203.0.113.1 is the next hop of the default route" },
  });
  t.match((await ask(api, "POST", "/v1/inventory/203.0.113.2/release")).body, {
    code: "in-use",
    detail: "203.0.113.2 is the gateway's own address",
  });
  t.same(reconciler.released, ["203.0.113.99"], "nothing else was touched");

  board.reasons.set("eips/eip-a" as ObjectId, "AddressConflict");
  const contested = await ask(api, "GET", "/v1/inventory");
  t.match(contested.body.addresses[2], {
    ip: "203.0.113.10",
    role: "conflict",
    users: ["eips/eip-a", "fips/fip-a"],
  });
});

t.test("all who ask for the inventory at once get one that is computed once", async (t) => {
  const api = await populated();
  let looks = 0;
  const look = () => {
    const held = [
      { interface: "net1", address: "203.0.113.2", prefixLength: 24, isSecondary: false, label: "" },
    ];
    const addresses = new Proxy(held as never[], {
      get(target, key, receiver) {
        if (key === "0") looks++;
        return Reflect.get(target, key, receiver);
      },
    });
    looks = 0;
    api.reconciler.network = { links: [], routes: [], sysctls: new Map(), addresses };
  };
  look();
  const { body } = await ask(api, "GET", "/v1/inventory");
  const once = looks;
  t.ok(once > 0);
  look();
  const all = await Promise.all(Array.from({ length: 8 }, () => ask(api, "GET", "/v1/inventory")));
  for (const answer of all) t.same(answer.body, body);
  t.equal(looks, once);
});

t.test("probes, metrics and the log", async (t) => {
  const api = testApi();
  api.board.isReady = false;
  t.equal((await ask(api, "GET", "/livez")).status, 200);
  t.equal((await ask(api, "GET", "/readyz?verbose")).status, 503);
  api.board.isReady = true;
  t.equal((await ask(api, "GET", "/readyz")).status, 200);
  t.equal((await ask(api, "GET", "/metrics")).status, 200);
  await ask(api, "GET", "/v1/eips/eip-77");
  await ask(api, "GET", "/v1/no/such/thing");
  t.same(api.observed.slice(-2), [
    { route: "/v1/eips/:name", code: 404 },
    { route: "unknown", code: 404 },
  ]);
  api.lines.length = 0;
  await ask(api, "GET", "/v1/eips");
  t.same(api.lines, [], "reads are for those who debug");
  await ask(api, "PUT", "/v1/eips/eip-a?wait=0", { body: eipA });
  t.match(api.lines, [{ msg: "write answered", method: "PUT", path: "/v1/eips/eip-a", status: 202 }]);
});

t.test("the registry and the public codes agree", async (t) => {
  for (const code of publicCodes) t.ok(errorCodes[code].status >= 400, code);
  t.equal(publicCodes.length, 23);
});
