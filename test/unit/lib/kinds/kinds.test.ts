import { globSync, readFileSync } from "node:fs";
import t from "tap";
import { collections as pageCollections } from "../../../../agent/ui/types.ts";
import { recordOf, type SpecOf, specSchemas } from "../../../../lib/kinds/registry.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { collectionOf, collections, type Kind, kinds } from "../../../../lib/model/names.ts";
import { dnat, eip, fip, limit, route, snat } from "../../../support/specs.ts";

t.test("semantics: what no gateway could program", (t) => {
  const cases: [Kind, Record<string, unknown>, string[]][] = [
    ["eip", eip("e", 10), []],
    ["eip", eip("e", 255), []],
    ["eip", { name: "e", address: "127.0.0.1/8" }, ["/address"]],
    ["eip", { name: "e", address: "239.1.1.1/24" }, ["/address"]],
    ["eip", { name: "e", address: "203.0.113.1/0" }, ["/address"]],
    ["fip", fip("f", "e"), []],
    ["fip", fip("f", "e", "127.9.9.9"), ["/internalIp"]],
    ["fip", fip("f", "e", "0.0.0.0"), ["/internalIp"]],
    ["fip", fip("f", "e", "255.255.255.255"), ["/internalIp"]],
    ["fip", fip("f", "e", "224.0.0.5"), ["/internalIp"]],
    ["fip", fip("f", "e", "240.0.0.1"), ["/internalIp"]],
    ["snat", snat("s", "e", "0.0.0.0/0"), []],
    ["snat", snat("s", "e", "225.0.0.0/1"), []],
    ["snat", snat("s", "e", "127.0.0.0/7"), []],
    ["snat", snat("s", "e", "127.0.0.0/8"), ["/internalCIDR"]],
    ["snat", snat("s", "e", "0.1.0.0/16"), ["/internalCIDR"]],
    ["snat", snat("s", "e", "224.0.0.0/3"), ["/internalCIDR"]],
    ["dnat", dnat("d", "e"), []],
    ["dnat", dnat("d", "e", 80, { backends: [] }), []],
    ["dnat", dnat("d", "e", 80, { internalIp: undefined, internalPort: undefined }), ["/internalIp"]],
    ["dnat", dnat("d", "e", 80, { internalPort: undefined }), ["/internalPort"]],
    ["dnat", dnat("d", "e", 80, { internalIp: undefined }), ["/internalIp"]],
    ["dnat", dnat("d", "e", 80, { internalIp: "127.0.0.1" }), ["/internalIp"]],
    ["dnat", { ...dnat("d", "e"), backends: [] }, ["/backends"]],
    ["dnat", dnat("d", "e", 80, { backends: [], sessionAffinity: "ClientIP" }), []],
    ["dnat", dnat("d", "e", 80, { sessionAffinity: "ClientIP" }), ["/sessionAffinity"]],
    ["dnat", dnat("d", "e", 80, { sessionAffinity: "None" }), []],
    [
      "dnat",
      dnat("d", "e", 80, {
        backends: [
          { ip: "10.0.0.1", port: 1 },
          { ip: "10.0.0.1", port: 2 },
          { ip: "10.0.0.1", port: 1 },
          { ip: "127.0.0.1", port: 1 },
        ],
      }),
      ["/backends/2", "/backends/3/ip"],
    ],
    ["limit", limit("l", { eip: "e" }), []],
    ["limit", limit("l", { interface: "vpc", match: { dst: "0.0.0.0/0" } }), []],
    ["limit", limit("l", {}), ["/eip"]],
    ["limit", limit("l", { eip: "e", interface: "net1" }), ["/interface"]],
    ["limit", limit("l", { eip: "e", match: { src: "10.0.1.0/24" } }), ["/match"]],
    ["limit", limit("l", { interface: "net1", match: {} }), ["/match"]],
    [
      "limit",
      limit("l", { interface: "net1", match: { src: "10.0.1.0/24", dst: "10.0.1.0/24" } }),
      ["/match"],
    ],
    ["limit", limit("l", { interface: "net1", match: { src: "127.0.0.0/8" } }), ["/match/src"]],
    ["limit", limit("l", { interface: "net1", match: { dst: "224.0.0.0/4" } }), ["/match/dst"]],
    ...["lo", "all", "default"].flatMap((name): (typeof cases)[number][] => [
      ["limit", limit("l", { interface: name }), ["/interface"]],
      ["eip", { name: "e", address: "203.0.113.10/24", interface: name }, ["/interface"]],
    ]),
    ["route", route("r", "0.0.0.0/0"), []],
    ["route", route("r", "127.0.0.0/16", { via: "224.0.0.1" }), ["/destination", "/via"]],
  ];
  for (const [kind, spec, expected] of cases) {
    const pointers = recordOf(kind)
      .issues(spec as unknown as SpecOf[Kind])
      .map((issue) => issue.pointer);
    t.strictSame(pointers, expected, JSON.stringify(spec));
  }
  t.end();
});

t.test("the canonical form masks networks and leaves out absent fields", (t) => {
  const cases: [Kind, Record<string, unknown>, string][] = [
    [
      "eip",
      {
        bound: false,
        leaseSeconds: 9,
        interface: undefined,
        address: "203.0.113.10/24",
        uid: "u",
        name: "e",
      },
      '{"name":"e","uid":"u","address":"203.0.113.10/24","leaseSeconds":9,"bound":false}',
    ],
    [
      "limit",
      limit("l", { match: { src: "10.0.1.9/24" }, interface: "vpc", burstMB: 0.3, priority: 0 }),
      '{"name":"l","direction":"egress","rateMbit":10,"burstMB":0.3,"priority":0,"interface":"vpc","match":{"src":"10.0.1.0/24"}}',
    ],
    ["limit", limit("l", { eip: "e" }), '{"name":"l","direction":"egress","rateMbit":10,"eip":"e"}'],
    ["route", route("r", "10.0.9.9/16"), '{"name":"r","destination":"10.0.0.0/16","via":"10.0.1.1"}'],
  ];
  for (const [kind, spec, expected] of cases)
    t.equal(JSON.stringify(recordOf(kind).canonical(spec as unknown as SpecOf[Kind])), expected);
  t.end();
});

t.test("every kind has its record, and a line for people", (t) => {
  const backends = [1, 2, 3, 4, 5].map((port) => ({ ip: "10.0.1.7", port }));
  const cases: [Kind, Record<string, unknown>, string][] = [
    ["eip", eip("e", 10), "EIP 203.0.113.10/24"],
    ["eip", eip("e", 10, { interface: "net2" }), "EIP 203.0.113.10/24 on net2"],
    ["eip", eip("e", 10, { bound: false }), "EIP 203.0.113.10/24, not held"],
    ["fip", fip("f", "e"), "FIP 203.0.113.10 ↔ 10.0.1.5"],
    ["fip", fip("f", "gone"), "FIP gone ↔ 10.0.1.5"],
    ["snat", snat("s", "e"), "SNAT 10.0.1.0/24 → 203.0.113.10"],
    ["dnat", dnat("d", "e"), "DNAT 203.0.113.10 tcp/80 → 10.0.1.7:8080"],
    ["dnat", dnat("d", "e", 80, { backends: [] }), "DNAT 203.0.113.10 tcp/80 → no backends"],
    [
      "dnat",
      dnat("d", "e", 80, { backends }),
      "DNAT 203.0.113.10 tcp/80 → 10.0.1.7:1, 10.0.1.7:2, 10.0.1.7:3 and 2 more",
    ],
    [
      "dnat",
      dnat("d", "e", 80, { backends: backends.slice(0, 2), sessionAffinity: "ClientIP" }),
      "DNAT 203.0.113.10 tcp/80 → 10.0.1.7:1, 10.0.1.7:2 by the client's address",
    ],
    ["limit", limit("l", { eip: "e" }), "limit egress of 203.0.113.10 to 10 Mbit/s"],
    [
      "limit",
      limit("l", { interface: "vpc", match: { src: "10.0.1.0/24" }, burstMB: 0.5 }),
      "limit egress of vpc from 10.0.1.0/24 to 10 Mbit/s, bursts of 0.5 MB",
    ],
    ["route", route("r", "10.0.0.0/16"), "route 10.0.0.0/16 via 10.0.1.1"],
    [
      "route",
      route("r", "10.0.0.0/16", { interface: "external" }),
      "route 10.0.0.0/16 via 10.0.1.1 on the external interface",
    ],
  ];
  const addressOf = (name: string) => (name === "e" ? ("203.0.113.10" as Ip) : undefined);
  for (const [kind, spec, expected] of cases)
    t.equal(recordOf(kind).verbalize(spec as unknown as SpecOf[Kind], addressOf), expected);
  for (const kind of kinds) {
    t.equal(recordOf(kind).kind, kind);
    t.equal(specSchemas[kind], recordOf(kind).schema);
    t.match(recordOf(kind).title, /^[A-Z][a-z]+$/);
    t.ok(
      cases.some(([one]) => one === kind),
      kind,
    );
  }
  t.end();
});

t.test("docs/api.md lists exactly the kinds, with their paths and fields", (t) => {
  const text = readFileSync("docs/api.md", "utf8");
  const table = text.slice(text.indexOf("| kind | path |"), text.indexOf("Requests carry an object flat"));
  const rows = table.split("\n").filter((line) => line.includes("`/v1/"));
  t.strictSame(
    rows.map((row) =>
      row
        .split("|", 3)
        .slice(1)
        .map((cell) => cell.trim()),
    ),
    kinds.map((kind) => [recordOf(kind).title, `\`/v1/${collectionOf(kind)}\``]),
  );
  for (const [index, kind] of kinds.entries()) {
    const fields = Object.keys(recordOf(kind).schema.properties).filter(
      (field) => field !== "name" && field !== "uid",
    );
    for (const field of fields) t.ok(rows[index]?.includes(`\`${field}\``), `${kind}: ${field}`);
  }
  t.end();
});

t.test("the status page and the metrics have every kind", (t) => {
  t.strictSame(pageCollections, collections, "agent/ui/types.ts");
  const labels = kinds.map((kind) => `\`${kind}\``).join(", ");
  t.ok(
    readFileSync("docs/metrics.md", "utf8").includes(`desired objects of each kind (${labels})`),
    "docs/metrics.md",
  );
  t.end();
});

t.test("code never recognizes a kind by the fields of an object", (t) => {
  const fields = new Set(kinds.flatMap((kind) => Object.keys(recordOf(kind).schema.properties)));
  const sniffing = new RegExp(`"(?:${[...fields].join("|")})" in `);
  for (const file of globSync("{agent,lib}/**/*.ts"))
    for (const line of readFileSync(file, "utf8").split("\n"))
      if (sniffing.test(line)) t.fail(`${file}: ${line.trim()}`);
  t.match('"eip" in spec', sniffing);
  t.end();
});
