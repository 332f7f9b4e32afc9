import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { Compile } from "typebox/schema";
import { isUnmodified, parseIfMatch, parsePreconditions } from "../../../../agent/api/etag.ts";
import { listIssues, type PlainSchema } from "../../../../agent/api/input-issues.ts";
import { surveyJson as surveyChunked } from "../../../../agent/api/json-body.ts";
import { prefersText } from "../../../../agent/api/plan-text.ts";
import { publicCodes } from "../../../../agent/api/problem.ts";
import { parseLimit, parseWait } from "../../../../agent/api/query.ts";
import { BatchSchema, FullSetSchema } from "../../../../lib/admission/requests.ts";
import { runSync } from "../../../../lib/chunked.ts";
import { countKeys } from "../../../../lib/count-keys.ts";
import { specSchemas } from "../../../../lib/kinds/registry.ts";
import { errorCodes } from "../../../../lib/model/errors.ts";
import { collections, kinds } from "../../../../lib/model/names.ts";
import { clientTypes, documentFile, typesFile } from "../../../../scripts/client-types.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { jsonValues, withoutBackslashes } from "../../../support/json-values.ts";

/** Values close to the schemas: valid, nearly valid, and random ones. */
const scalar = fc.oneof(
  fc.constantFrom(
    "eip-a",
    "10.0.1.5",
    "10.0.0.0/16",
    "203.0.113.10/24",
    "tcp",
    "udp",
    "random",
    "vpc",
    "net1",
  ),
  fc.constantFrom(
    "",
    "A",
    "10.0.1",
    "01.2.3.4",
    "1.2.3.4/33",
    "TCP",
    "a..b",
    "-",
    "é",
    "a\nb",
    "x".repeat(254),
  ),
  fc.constantFrom(0.001, 0.5, 2.5, 1e6, 65_535),
  fc.constantFrom(0, 1, 80, 65_535, 65_536, 1.5, -1, Number.MAX_SAFE_INTEGER, 1e300, true, null, [], {}),
  fc.string({ maxLength: 8 }),
);
const key = fc.oneof(
  fc.constantFrom("name", "uid", "address", "interface", "leaseSeconds", "eip", "internalIp", "internalCIDR"),
  fc.constantFrom("direction", "rateMbit", "burstMB", "priority", "match", "src", "dst", "limits", "bound"),
  fc.constantFrom("mapping", "protocol", "externalPort", "internalPort", "backends", "destination", "via"),
  fc.constantFrom(
    "ip",
    "port",
    "generation",
    "gateway",
    "eips",
    "fips",
    "snats",
    "dnats",
    "routes",
    "upsert",
  ),
  fc.constantFrom("delete", "toString", "constructor", "a/b~c"),
);
const value = fc.letrec((tie) => ({
  any: fc.oneof({ depthSize: "small" }, scalar, fc.array(tie("any"), { maxLength: 3 }), tie("object")),
  object: fc.dictionary(key, tie("any"), { maxKeys: 8, noNullPrototype: true }),
})).object;

/** Objects of each kind that are mostly valid, so that the checks reach deep parts. */
const fip = fc.record(
  { name: fc.constant("f"), eip: fc.constant("e"), internalIp: fc.constant("10.0.0.1"), uid: scalar },
  { requiredKeys: [] },
);
const dnat = fc.record(
  {
    name: fc.constant("d"),
    eip: fc.constant("e"),
    protocol: fc.constantFrom("tcp", "TCP"),
    externalPort: fc.constantFrom(1, 0, "1"),
    backends: fc.array(fc.record({ ip: fc.constantFrom("10.0.0.1", 1), port: fc.constantFrom(1, 65_536) })),
  },
  { requiredKeys: ["name", "eip"] },
);
const limit = fc.record(
  {
    name: fc.constant("l"),
    direction: fc.constantFrom("ingress", "up"),
    rateMbit: fc.constantFrom(0.5, 1, 0, "1", 1e300, null),
    burstMB: fc.constantFrom(0.06, 4_096),
    priority: fc.constantFrom(0, 0.5, -1),
    match: fc.constantFrom({ src: "10.0.0.0/8" }, { src: 1 }, { via: "10.0.0.0/8" }, []),
  },
  { requiredKeys: ["name", "direction"] },
);
const set = fc.record(
  {
    generation: fc.constantFrom(0, 1, -1, 1.5),
    gateway: fc.constantFrom({}, { defaultGateway: "10.0.0.1" }, { defaultGateway: 1 }),
    eips: fc.constant([]),
    fips: fc.array(fip, { maxLength: 3 }),
    snats: fc.constantFrom([], 7),
    dnats: fc.array(dnat, { maxLength: 3 }),
    limits: fc.array(limit, { maxLength: 2 }),
    routes: fc.constant([]),
  },
  { requiredKeys: ["generation", "eips", "fips"] },
);

const plain = (schema: unknown) => schema as PlainSchema;

t.test("faults are found exactly where the compiled schema refuses", async () => {
  const schemas = [...kinds.map((kind) => specSchemas[kind]), FullSetSchema, BatchSchema];
  for (const schema of schemas) {
    const compiled = Compile(schema);
    fc.assert(
      fc.property(fc.oneof(value, scalar, fip, dnat, limit, set), (input) => {
        const issues = listIssues(plain(schema), input, "", 200);
        return (issues.length === 0) === compiled.Check(input);
      }),
      { numRuns: 300 },
    );
  }
});

t.test("texts for people", async (t) => {
  const say = (input: unknown) => listIssues(plain(specSchemas.dnat), input, "/dnats/0", 200);
  t.same(say({ name: "A", eip: "e", protocol: "TCP", externalPort: 0, internalIp: "10.0.0" }), [
    { pointer: "/dnats/0/name", message: "must be a DNS subdomain" },
    { pointer: "/dnats/0/protocol", message: "must be one of tcp, udp, sctp" },
    { pointer: "/dnats/0/externalPort", message: "must be from 1 to 65535" },
    { pointer: "/dnats/0/internalIp", message: "must be an IPv4 address" },
  ]);
  t.same(say({ name: "d", protocol: "tcp", externalPort: 1, ["x".repeat(300)]: 1 }), [
    { pointer: "/dnats/0/eip", message: "is missing" },
    { pointer: `/dnats/0/${"x".repeat(256)}...`, message: "is unknown" },
  ]);
  const route = { name: "r", destination: "10.0.0.0/8", via: "10.0.0.1" };
  const sayOf = (input: unknown) => listIssues(plain(specSchemas.route), input, "", 200);
  t.same(sayOf(route), []);
  t.match(
    sayOf({ ...route, constructor: 1 }),
    [{ pointer: "/constructor" }],
    "inherited names are not known",
  );
  t.match(sayOf({ ...route, name: "x".repeat(254) }), [{ message: "must have at most 253 characters" }]);
  const limitOf = (more: object) =>
    listIssues(plain(specSchemas.limit), { name: "l", direction: "egress", rateMbit: 1, ...more }, "", 200);
  t.same(limitOf({ rateMbit: 0.5, match: { src: "10.0.0.0/8" } }), []);
  t.same(limitOf({ rateMbit: 0, burstMB: "1", priority: 0.5, match: { src: 1, via: 2 } }), [
    { pointer: "/rateMbit", message: "must be from 0.001 to 1000000" },
    { pointer: "/burstMB", message: "must be a number" },
    { pointer: "/priority", message: "must be an integer" },
    { pointer: "/match/src", message: "must be a string" },
    { pointer: "/match/via", message: "is unknown" },
  ]);
  t.same(say([]), [{ pointer: "/dnats/0", message: "must be an object" }]);
});

const surveyJson = (text: string) => runSync(surveyChunked(Buffer.from(text)));

t.test("surveyJson counts like JSON.parse, plus one for a duplicate key", async (t) => {
  const spaces = fc.constantFrom(undefined, 1, "\t");
  fc.assert(
    fc.property(jsonValues({ maxDepth: 5 }), spaces, (input, space) => {
      const text = JSON.stringify(input, undefined, space);
      return surveyJson(text).keys === countKeys(JSON.parse(text));
    }),
  );
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }).map(withoutBackslashes),
      (input) => {
        const [name] = Object.keys(input);
        const text = `{${JSON.stringify(name)}:0,${JSON.stringify(input).slice(1)}`;
        return surveyJson(text).keys === countKeys(JSON.parse(text)) + 1;
      },
    ),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      surveyJson(text);
      surveyJson(`{"${text}`);
    }),
    { numRuns: 500 },
  );
  t.equal(surveyJson(`"${"\\".repeat(9)}":`).keys, 0, "a string that does not close");
  t.equal(surveyJson(`{"${"\\".repeat(8)}":1}`).keys, 1);
  t.equal(surveyJson("[".repeat(32)).fault, undefined);
  t.equal(surveyJson("[".repeat(33)).fault?.code, "malformed-json");
  t.equal(surveyJson("]]]]").fault, undefined);
  const half = `[${"0,".repeat(150_000)}0]`;
  t.equal(surveyJson(`[${half},${half}]`).fault, undefined, "each value is counted by itself");
  t.equal(surveyJson(`[${"[],".repeat(200_001)}[]]`).fault?.code, "too-large");
});

t.test("If-Match and If-None-Match", async (t) => {
  const ifMatch = (header: string) => parseIfMatch({ "if-match": header });
  const ifNoneMatch = (header: string) => parsePreconditions({ "if-none-match": header }).ifNoneMatch;
  t.equal(parseIfMatch({}), undefined);
  t.same(parsePreconditions({}), { ifMatch: undefined, ifNoneMatch: undefined });
  t.equal(ifMatch(" * "), "*");
  t.equal(ifNoneMatch(" * "), "*");
  t.same(ifMatch('"17"'), [17]);
  t.same(ifMatch('"17", W/"18" ,"19"'), [17, 19]);
  t.same(ifNoneMatch('W/"17",W/"18" , "19"'), [17, 18, 19], "compared weakly");
  t.same(ifMatch('"abc", "017", "1e3", ""'), [], "well-formed, and none of ours");
  for (const malformed of ["", "17", "'17'", '"17', '"17",', '*, "17"', 'w/"17"']) {
    t.throws(() => ifMatch(malformed), { code: "invalid" }, malformed);
    t.throws(() => ifNoneMatch(malformed), { code: "invalid" }, malformed);
  }
  const issues = [{ pointer: "/headers/if-none-match" }];
  t.throws(() => parseIfMatch({ "if-none-match": "*" }), { code: "invalid", issues }, "not dropped silently");
  t.ok(isUnmodified('"1", W/"2"', 2));
  t.ok(isUnmodified("*", 2));
  for (const other of [undefined, "", "2", '"1"']) t.notOk(isUnmodified(other, 2), String(other));
});

t.test("durations, limits, media types", async (t) => {
  t.equal(parseWait(undefined), undefined);
  for (const [text, waitMs] of [
    ["500ms", 500],
    ["5s", 5_000],
    ["5m", 300_000],
    ["0s", 0],
    ["0", 0],
  ] as const) {
    t.equal(parseWait(text), waitMs, text);
  }
  for (const text of ["", "5", "-1s", "1.5s", "5 s", "5S", "301s", "1h", "9999999999999s", "s", "1s2"]) {
    t.throws(() => parseWait(text), { code: "invalid", issues: [{ pointer: "/query/wait" }] }, text);
  }
  const limits = { default: 100, most: 1_000 };
  t.equal(parseLimit(undefined, limits), 100);
  t.equal(parseLimit("1000", limits), 1_000);
  for (const text of ["0", "1001", "x", ""])
    t.throws(() => parseLimit(text, limits), { code: "invalid" }, text);
  const text = ["text/plain", "text/*", "text/plain, */*;q=0.1", "application/json;q=0.2, text/plain;q=0.9"];
  for (const accept of text) t.ok(prefersText(accept), accept);
  const json = [
    undefined,
    "",
    "*/*",
    "application/json",
    "text/plain, application/json",
    "text/plain;q=0",
    "a;q=x",
  ];
  for (const accept of json) t.notOk(prefersText(accept), String(accept));
});

t.test("the OpenAPI document and the types of the client match the stored files", async (t) => {
  const { app } = testApi();
  const document = `${JSON.stringify((await app.inject("/openapi.json")).json(), undefined, 2)}\n`;
  const types = await clientTypes(document);
  if (process.env.UPDATE_GOLDEN === "1") {
    writeFileSync(documentFile, document);
    writeFileSync(typesFile, types);
  }
  t.equal(document, readFileSync(documentFile, "utf8"), "UPDATE_GOLDEN=1 writes it anew");
  t.equal(types, readFileSync(typesFile, "utf8"), "UPDATE_GOLDEN=1 writes it anew");
  const { paths, components } = JSON.parse(document);
  for (const [, name = ""] of document.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (components.schemas[name] === undefined) t.fail(`refers to ${name}, which is not there`);
  }
  t.ok(paths["/v1/eips/{name}"].put.requestBody, "bodies are described");
  t.same(
    paths["/v1/eips/{name}"].delete.parameters.map((parameter: { name: string }) => parameter.name).sort(),
    ["cascade", "dryRun", "if-match", "name", "uid", "wait"],
  );
  await app.close();
});

t.test("docs/api.md names every code with its status, and every path", async (t) => {
  const text = readFileSync(new URL("../../../../docs/api.md", import.meta.url), "utf8");
  for (const code of publicCodes) t.ok(text.includes(`| ${errorCodes[code].status} | \`${code}\` |`), code);
  const { app } = testApi();
  const { paths } = (await app.inject("/openapi.json")).json();
  for (const path of Object.keys(paths)) {
    t.ok(
      text.includes(path) ||
        text.includes(path.replace(new RegExp(`/v1/(${collections.join("|")})`), "/v1/{kind}s")),
      path,
    );
  }
  await app.close();
});
