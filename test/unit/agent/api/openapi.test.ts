import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import t from "tap";
import { Compile } from "typebox/schema";
import { completeDocument } from "../../../../agent/api/openapi.ts";
import { connect } from "../../../../agent/client/client.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { openApiFaults } from "../../../support/openapi-rules.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

interface Operation {
  readonly operationId: string;
  readonly security: readonly object[];
  readonly responses: Readonly<Record<string, { readonly headers?: object }>>;
}
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

const { app } = testApi();
const document = (await app.inject("/openapi.json")).json();
const paths: Paths = document.paths;
await app.close();
const operations = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, ...operation })),
);

t.test("every route follows the rules", async (t) => {
  t.ok(operations.length > 30);
  t.same(openApiFaults(document), [], "agent/api/openapi.ts lists the rules");
});

t.test("the rules find faults", async (t) => {
  const schemas = { Known: { type: "object", properties: {} } };
  const components = { schemas, securitySchemes: { token: {} } };
  const content = { "application/problem+json": { schema: { $ref: "#/components/schemas/Known" } } };
  const good = {
    operationId: "getThing",
    tags: ["things"],
    summary: "Reads",
    security: [{ token: [] }],
    responses: { 200: {}, default: { headers: { "Retry-After": {} }, content } },
  };
  const faultsOf = (operation: object) =>
    openApiFaults({ paths: { "/v1/thing": { get: operation } }, components });
  t.same(faultsOf(good), []);
  for (const missing of ["operationId", "tags", "summary", "security"]) {
    const { [missing]: _, ...rest } = good as Readonly<Record<string, unknown>>;
    t.same(faultsOf(rest), [`get /v1/thing: no ${missing}`]);
  }
  t.match(faultsOf({ ...good, security: [{ key: [] }] }), [/security key is unknown/]);
  t.match(faultsOf({ ...good, responses: { 200: {} } }), [/no problem/]);
  t.same(faultsOf({ ...good, security: [], responses: { 200: {} } }), [], "an open path");
  t.match(faultsOf({ ...good, responses: { 200: {}, default: { content } } }), [/Retry-After/]);
  const answer = (schema: object) =>
    faultsOf({
      ...good,
      responses: { ...good.responses, 200: { content: { "application/json": { schema } } } },
    });
  for (const [schema, fault] of [
    [{ type: "object", properties: {} }, /an object without a title/],
    [{ type: "array", items: { type: "object" } }, /\[\]: an object without a title/],
    [{ type: ["string", "null"] }, /a list of types/],
    [{ anyOf: [{ $ref: "#/components/schemas/Known" }] }, /has anyOf/],
    [{ enum: ["a"] }, /no type/],
    [{ type: "string", enum: ["a", "b"] }, /an enum without a title/],
    [{ $ref: "#/components/schemas/Unknown" }, /Unknown, which is not there/],
    [{}, /no type/],
  ] as const)
    t.match(answer(schema), [fault], JSON.stringify(schema));
  const named = (schema: object) => openApiFaults({ paths: {}, components: { schemas: { Named: schema } } });
  t.same(named({ type: "string", enum: ["a", "b"] }), []);
  t.same(answer({ type: "object", additionalProperties: { type: "string" } }), []);
  t.match(answer({ type: "object", additionalProperties: {} }), [/\{\}: no type/]);
  const orNull = (schema: object) => answer({ anyOf: [schema, { type: "null" }] });
  t.same(orNull({ $ref: "#/components/schemas/Known" }), []);
  t.match(orNull({ type: "object" }), [/an object without a title/]);
  t.match(named({ type: "object", properties: { one: {} } }), [/Named.one: no type/]);
  t.match(named({ type: "object", required: ["one"], properties: {} }), [/requires one/]);
  t.match(named({ type: "object" }), [/no properties/]);
  const both = { "/a": { get: good }, "/b": { get: good } };
  t.match(openApiFaults({ paths: both, components }), [/getThing: occurs twice/]);
});

t.test("a linter finds nothing", async (t) => {
  const config = await createConfig({
    extends: ["recommended-strict"],
    rules: {
      // The default answer is the problem of every status.
      "operation-4xx-response": "off",
      // What is in a stream cannot be referred to.
      "no-unused-components": "off",
    },
  });
  const lint = async (text: string) =>
    (await lintFromString({ source: text, absoluteRef: "openapi.json", config })).map(
      ({ ruleId, message, location: [place] }) => `${ruleId} ${place?.pointer}: ${message}`,
    );
  t.same(await lint(JSON.stringify(document)), []);
  t.not((await lint(JSON.stringify({ ...document, info: {} }))).length, 0);
});

const directory = temporaryDirectory("openapi");

t.test("security: what the document says is what a stranger meets", async (t) => {
  const tokenFile = join(directory, "token");
  writeFileSync(tokenFile, "secret\n");
  const { api } = testApi({ listen: [{ host: "127.0.0.1", port: 0 }], tokenFile });
  t.teardown(() => api.close());
  await api.listen();
  const stranger = await connect({ server: `http://${api.addresses[1]}` });
  t.teardown(() => stranger.close());
  const path = { name: "eip-a", ip: "203.0.113.10" };
  for (const { path: pattern, method, security } of operations) {
    if (pattern === "/v1/kube-ovn/nat-gateway") continue;
    const ask: (path: string, options: object) => Promise<{ readonly status: number }> =
      Object(stranger)[method];
    const { status } = await ask(pattern, { path });
    // Who fails too often has to wait.
    t.equal(status === 401 || status === 429, security.length > 0, `${method} ${pattern}`);
  }
});

t.test("headers: answers have an ETag exactly where the document says so", async (t) => {
  const api = testApi();
  t.teardown(() => api.app.close());
  const eip = { method: "PUT", url: "/v1/eips/eip-a", payload: { address: "203.0.113.10/24" } } as const;
  t.ok((await api.app.inject(eip)).headers.etag);
  for (const { path, method, responses } of operations) {
    if (method !== "get" || path.includes("events")) continue;
    const { statusCode, headers } = await api.app.inject(path.replace("{name}", "eip-a"));
    const documented = Object.keys(responses[statusCode]?.headers ?? {}).includes("ETag");
    t.equal(documented, headers.etag !== undefined, `${path}: ${statusCode}`);
  }
});

/** A schema of the document with its references replaced. None is recursive. */
function resolved(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(resolved);
  if (typeof node !== "object" || node === null) return node;
  if ("$ref" in node) return resolved(document.components.schemas[String(node.$ref).split("/").at(-1) ?? ""]);
  return Object.fromEntries(Object.entries(node).map(([name, member]) => [name, resolved(member)]));
}

t.test("answers are as the document says", async (t) => {
  const { app } = testApi();
  t.teardown(() => app.close());
  const [eip, fip] = [
    { address: "203.0.113.10/24", uid: "u1" },
    { eip: "eip-a", internalIp: "10.0.1.5" },
  ];
  const upsert = { dnats: [{ name: "d", eip: "eip-a", protocol: "tcp", externalPort: 80, backends: [] }] };
  const calls: readonly [string, string, string, object?][] = [
    ["put", "/v1/eips/eip-a?dryRun=true", "/v1/eips/{name}", eip],
    ["put", "/v1/eips/eip-a", "/v1/eips/{name}", eip],
    ["put", "/v1/fips/fip-a", "/v1/fips/{name}", fip],
    ["get", "/v1/eips/eip-a", "/v1/eips/{name}"],
    ["get", "/v1/eips", "/v1/eips"],
    ["get", "/v1/desired", "/v1/desired"],
    ["post", "/v1/batch?dryRun=true", "/v1/batch", { upsert }],
    ["post", "/v1/batch", "/v1/batch", { upsert }],
    ["delete", "/v1/fips/fip-a?dryRun=true", "/v1/fips/{name}"],
    ["delete", "/v1/eips/eip-a", "/v1/eips/{name}"],
    ["put", "/v1/eips/eip-b", "/v1/eips/{name}", eip],
    ["put", "/v1/eips/eip-a", "/v1/eips/{name}", { address: 1 }],
    ["get", "/v1/eips/none", "/v1/eips/{name}"],
    ["post", "/v1/reconcile", "/v1/reconcile"],
    ["get", "/v1/plan", "/v1/plan"],
    ["get", "/v1/inventory", "/v1/inventory"],
  ];
  for (const [method, url, pattern, payload] of calls) {
    const answer = await app.inject({ method: method as "GET", url, ...(payload && { payload }) });
    const { responses } = document.paths[pattern][method];
    const { content } = responses[answer.statusCode] ?? responses.default;
    const [{ schema }] = Object.values<{ schema: object }>(content) as [{ schema: object }];
    const [, errors] = Compile(resolved(schema) as object).Errors(answer.json());
    t.same(errors, [], `${method} ${url}: ${answer.statusCode}`);
  }
});

t.test("completeDocument", async (t) => {
  const fine = { title: "Fine", type: "object", properties: { title: { type: "string" } } };
  const document = completeDocument({
    info: { title: "A document" },
    components: { securitySchemes: { token: {} } },
    one: { schema: fine },
    two: [{ schema: { type: "array", items: fine } }],
    three: { description: "yes or no", enum: ["true", "false"], documented: { type: "boolean" } },
    four: { enum: ["a", "b"], title: "Letters" },
    five: { type: "integer", maximum: 65_535 },
    six: { type: "integer" },
    seven: { type: "number" },
    eight: { type: "object", patternProperties: { "^.*$": { type: "string" } } },
  });
  t.strictSame(document, {
    info: { title: "A document" },
    one: { schema: { $ref: "#/components/schemas/Fine" } },
    two: [{ schema: { type: "array", items: { $ref: "#/components/schemas/Fine" } } }],
    three: { type: "boolean", description: "yes or no" },
    four: { $ref: "#/components/schemas/Letters" },
    five: { type: "integer", maximum: 65_535 },
    six: { format: "int64", type: "integer" },
    seven: { format: "double", type: "number" },
    eight: { type: "object", additionalProperties: { type: "string" } },
    components: {
      securitySchemes: { token: {} },
      schemas: {
        Fine: { type: "object", properties: { title: { type: "string" } } },
        Letters: { type: "string", enum: ["a", "b"] },
      },
    },
  });
  const other = { title: "Fine", type: "string" };
  t.throws(() => completeDocument({ fine, other }), /Two different schemas have the title Fine/);
});
