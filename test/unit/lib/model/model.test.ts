import { readFileSync } from "node:fs";
import t from "tap";
import { Value } from "typebox/value";
import { BatchSchema, FullSetSchema } from "../../../../lib/admission/requests.ts";
import { specSchemas } from "../../../../lib/kinds/registry.ts";
import { errorCodes, GatewayError } from "../../../../lib/model/errors.ts";
import { parseCidr, parseInterfaceAddress, parseIp } from "../../../../lib/model/ipv4.ts";
import {
  collectionOf,
  collections,
  kindOfCollection,
  kinds,
  objectId,
  parseGatewayInterface,
  parseInterfaceName,
  parseObjectId,
  parseObjectName,
  parseUid,
} from "../../../../lib/model/names.ts";
import { conditionTypes, reasons } from "../../../../lib/model/status.ts";
import { emptyDesired, objectsOf } from "../../../../lib/state/desired.ts";

t.test("IPv4 text", (t) => {
  for (const text of ["0.0.0.0", "255.255.255.255", "10.0.1.5"]) t.equal(parseIp(text), text);
  for (const text of [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "1.2.3.256",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "a.b.c.d",
    "::1",
    "1.2.3.-4",
  ])
    t.equal(parseIp(text), undefined, JSON.stringify(text));
  t.equal(parseCidr("10.0.1.9/24"), "10.0.1.0/24");
  t.equal(parseCidr("10.0.1.9"), "10.0.1.9/32", "a bare address is a /32");
  t.equal(parseCidr("10.0.1.9/0"), "0.0.0.0/0");
  for (const text of ["10.0.1.9/33", "10.0.1.9/024", "10.0.1.9/", "/24", "10.0.1.9/24/24", "10.0.1.9/24\n"])
    t.equal(parseCidr(text), undefined, JSON.stringify(text));
  t.equal(parseInterfaceAddress("10.0.1.9/24"), "10.0.1.9/24");
  t.equal(parseInterfaceAddress("10.0.1.9"), undefined, "an EIP says its subnet");
  t.end();
});

t.test("names", (t) => {
  for (const name of ["a", "0", "a-b.c-9", "a".repeat(253)]) t.equal(parseObjectName(name), name);
  for (const name of ["", "A", "-a", "a-", "a..b", ".a", "a.", "a_b", "a/b", "a\n", "a".repeat(254)])
    t.equal(parseObjectName(name), undefined, JSON.stringify(name));
  for (const name of ["eth0", "net1", "eth0.100", "a".repeat(15)]) t.equal(parseInterfaceName(name), name);
  for (const name of ["", "-o", ".", "a b", "a/b", "a".repeat(16), "eth0\n"])
    t.equal(parseInterfaceName(name), undefined, JSON.stringify(name));
  for (const name of ["lo", "all", "default"]) {
    t.equal(parseInterfaceName(name), name, "the kernel's rules and links name it");
    t.equal(parseGatewayInterface(name), undefined, name);
  }
  t.equal(parseGatewayInterface("lo0"), "lo0");
  t.equal(parseUid("6b1f-!~"), "6b1f-!~");
  for (const uid of ["", "a b", "ü", "a".repeat(129)]) t.equal(parseUid(uid), undefined, JSON.stringify(uid));
  t.end();
});

t.test("ids are built from kind and name, and parsed again", (t) => {
  t.strictSame(collections, ["eips", "fips", "snats", "dnats", "limits", "routes"]);
  for (const kind of kinds) {
    t.equal(kindOfCollection(collectionOf(kind)), kind);
    t.strictSame(parseObjectId(objectId(kind, "a.b-c")), { kind, name: "a.b-c" });
    t.equal(objectsOf(emptyDesired, kind).size, 0);
  }
  t.equal(kindOfCollection("constructor"), undefined);
  t.throws(() => parseObjectId("pods/x" as `eips/${string}`), TypeError);
  t.end();
});

t.test("schemas judge shape", (t) => {
  const good = {
    eip: { name: "e", uid: "u", address: "203.0.113.10/24", interface: "net1", leaseSeconds: 30 },
    fip: { name: "f", eip: "e", internalIp: "10.0.1.5" },
    snat: { name: "s", eip: "e", internalCIDR: "10.0.1.9/24", mapping: "preserve" },
    dnat: {
      name: "d",
      eip: "e",
      protocol: "sctp",
      externalPort: 1,
      internalIp: "10.0.1.5",
      internalPort: 65535,
    },
    limit: {
      name: "l",
      direction: "egress",
      rateMbit: 2.5,
      burstMB: 0.3,
      priority: 0,
      interface: "external",
      match: { src: "10.0.1.9/24" },
    },
    route: { name: "r", destination: "10.0.0.0/16", via: "10.0.1.1", interface: "vpc" },
  };
  for (const kind of kinds) {
    t.ok(Value.Check(specSchemas[kind], good[kind]), kind);
    t.notOk(Value.Check(specSchemas[kind], { ...good[kind], qos: {} }), `${kind}: unknown fields`);
    t.notOk(Value.Check(specSchemas[kind], { ...good[kind], name: "A" }), `${kind}: name`);
  }
  const bad: [keyof typeof good, Record<string, unknown>][] = [
    ["eip", { address: "203.0.113.10" }],
    ["eip", { leaseSeconds: 0 }],
    ["eip", { leaseSeconds: 1.5 }],
    ["fip", { internalIp: "10.0.1.05" }],
    ["snat", { internalCIDR: "10.0.1.0/33" }],
    ["snat", { mapping: "fast" }],
    ["dnat", { protocol: "TCP" }],
    ["dnat", { externalPort: 0 }],
    ["dnat", { externalPort: 65536 }],
    ["dnat", { externalPort: "80" }],
    ["dnat", { backends: [{ ip: "10.0.0.1", port: 80, weight: 1 }] }],
    ["limit", { direction: "both" }],
    ["limit", { rateMbit: 0 }],
    ["limit", { rateMbit: -1 }],
    ["limit", { rateMbit: "10" }],
    ["limit", { rateMbit: 1e7 }],
    ["limit", { rateMbit: Number.POSITIVE_INFINITY }],
    ["limit", { burstMB: 0 }],
    ["limit", { burstMB: 4_096 }],
    ["limit", { priority: 1.5 }],
    ["limit", { match: { src: "10.0.1.0/24", proto: "tcp" } }],
    ["route", { interface: "net1" }],
  ];
  for (const [kind, change] of bad)
    t.notOk(Value.Check(specSchemas[kind], { ...good[kind], ...change }), JSON.stringify(change));
  const set = { generation: 1, eips: [], fips: [], snats: [], dnats: [], routes: [] };
  t.ok(Value.Check(FullSetSchema, set));
  t.ok(Value.Check(FullSetSchema, { ...set, limits: [good.limit] }));
  t.notOk(Value.Check(FullSetSchema, { ...set, limits: [{ ...good.limit, rateMbit: 0 }] }));
  for (const collection of collections) {
    const { [collection]: _, ...without } = { ...set, limits: [] };
    t.equal(Value.Check(FullSetSchema, without), collection === "limits", `may be left out: ${collection}`);
  }
  t.notOk(Value.Check(FullSetSchema, { ...set, generation: 2 ** 53 }));
  t.ok(Value.Check(BatchSchema, {}));
  t.notOk(Value.Check(BatchSchema, { upsert: { gateways: [] } }));
  t.end();
});

t.test("docs/api.md lists exactly the conditions and their reasons", (t) => {
  const text = readFileSync("docs/api.md", "utf8");
  const table = text.slice(text.indexOf("| type | reason | meaning |"), text.indexOf("## Reading"));
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  const column = (row: string, number: number) =>
    [...(row.split("|")[number] ?? "").matchAll(/`(\w+)`/g)].map(([, word]) => word);
  t.strictSame(rows.flatMap((row) => column(row, 2)).sort(), reasons.toSorted());
  t.strictSame([...new Set(rows.flatMap((row) => column(row, 1)))].sort(), conditionTypes.toSorted());
  for (const row of rows) t.match(row.split("|").slice(3, 5), [/\w{3}/, /\w{3}|–/], row);
  t.end();
});

t.test("an error carries its code, its cause and what it is about", (t) => {
  const cause = new Error("why");
  const error = new GatewayError("conflict", "taken", { cause, details: { object: "fips/a" } });
  t.match(error, { name: "GatewayError", code: "conflict", message: "taken", cause, issues: [] });
  t.strictSame(error.details, { object: "fips/a" });
  t.notOk("cause" in new GatewayError("internal", "none"));
  t.ok(Object.values(errorCodes).every(({ status }) => status >= 400 && status < 600));
  t.end();
});
