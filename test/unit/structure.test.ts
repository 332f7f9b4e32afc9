/**
 * Checks the structure of the sources: no import circles, no imports against the layers, no long files, tests that
 * mirror sources.
 */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { typesFile } from "../../scripts/client-types.ts";
import {
  familyNamesIn,
  fileCircles,
  filesBelow,
  folderCircles,
  type ImportGraph,
  importsOf,
  layerFaults,
  longFiles,
  readSourceTree,
  unmirroredTests,
} from "../support/structure.ts";

const maxLines = 300;
const { imports, lines } = readSourceTree(["agent", "lib"]);

t.test("the sources", async (t) => {
  t.ok(imports.has("agent/main.ts") && imports.get("lib/state/state.ts")?.includes("lib/state/desired.ts"));
  t.same(fileCircles(imports), []);
  t.same(folderCircles(imports), []);
  t.same(layerFaults(imports, ["agent/main.ts"]), []);
  t.same(longFiles(lines, maxLines), [typesFile], `only a generated file has more than ${maxLines} lines`);
});

/**
 * Where a name of one address family may stand, a file or all below a folder. The rest of the program takes the family as a value
 * (docs/adr/0013-address-families.md), so that another family is another instance.
 */
const familySites = [
  // The family, and the list of all.
  "lib/model/ipv4.ts",
  "lib/model/families.ts",
  // What users may write.
  "lib/model/schema.ts",
  "agent/config/schema.ts",
  "agent/api/routes/inventory.ts",
  // Where the instances are created.
  "agent/main.ts",
  // The neighbour protocol and the kernel interface of IPv4.
  "lib/arp/",
  "agent/kernel/iptables/legacy-digest.ts",
  // Rules of other programs, which are parsed for IPv4 alone (Family.hasRuleParser).
  "lib/netfilter/",
  // What binds the codec of nftables tables to its family.
  "lib/nftables/family.ts",
  // The addresses on which the agent listens, of any family.
  "agent/config/values.ts",
  "agent/api/listen-address.ts",
];

t.test("only the listed files name one address family", async (t) => {
  const naming = [...imports.keys()].filter((path) => familyNamesIn(readFileSync(path, "utf8")).length > 0);
  const siteOf = (path: string) => familySites.find((site) => path === site || path.startsWith(site));
  t.same(
    naming.filter((path) => siteOf(path) === undefined),
    [],
    "other files take the family from their program or as a parameter (ADR 13)",
  );
  t.same([...new Set(naming.map(siteOf))].sort(), familySites.toSorted(), "no site names none");
});

t.test("the tests mirror the sources", async (t) => {
  const tests = filesBelow(["test/unit", "test/property"]).filter((path) => path.endsWith(".test.ts"));
  // These are about no single source.
  t.same(unmirroredTests(tests, [...imports.keys()]), [
    "test/unit/docs/dependencies.test.ts",
    "test/unit/docs/deploy.test.ts",
    "test/unit/docs/links.test.ts",
    "test/unit/docs/monitoring.test.ts",
    "test/unit/structure.test.ts",
  ]);
});

t.test("docs/reliability.md names existing tests", async (t) => {
  const text = readFileSync("docs/reliability.md", "utf8");
  const named = Array.from(
    text.matchAll(/`((?:unit|property|netns|faults|chaos)\/[\w/-]+)`/g),
    ([, name = ""]) => name,
  );
  t.ok(named.length > 30);
  t.notMatch(text, /\b20\d\d-\d\d-\d\d\b/, "results of one day go stale");
  t.same(
    named.filter((name) => !existsSync(`test/${name}.test.ts`)),
    [],
  );
});

t.test("docs/architecture.md names existing files", async (t) => {
  const lines = readFileSync("docs/architecture.md", "utf8").split("\n");
  // What is still to be written is marked as such.
  const present = lines.filter((line) => !/\bnew:|to come/.test(line)).join("\n");
  const named = Array.from(
    present.matchAll(/`((?:agent|lib|test|scripts|docs)\/[\w./-]*)`/g),
    ([, name = ""]) => name,
  );
  t.ok(named.length > 80, String(named.length));
  t.same(
    named.filter((name) => !existsSync(name)),
    [],
  );
});

function graph(edges: Readonly<Record<string, readonly string[]>>): ImportGraph {
  return new Map(Object.entries(edges));
}

t.test("importsOf", async (t) => {
  const text = `
import { a } from "./a.ts";
import type { B } from "../b.ts";
import c, { type D } from "./c.ts";
import * as e from "package";
import "./f.ts";
import {
  g,
  type H,
} from "./g.ts";
export { i } from "./i.ts";
export type { J } from "./j.ts";
export * from "./k.ts";
export const l = await import("./l.ts");
const m: import("./m.ts").M = 1;
const n = require("./n.ts");
export const o = { from: "./none.ts" };
import { a2 } from "./a.ts";
`;
  const relative = ["a", "c", "f", "g", "i", "j", "k", "l", "m", "n"].map((name) => `lib/x/${name}.ts`);
  t.same(importsOf("lib/x/y.ts", text), ["lib/b.ts", ...relative, "package"]);
  t.throws(() => importsOf("lib/x/y.ts", "await import(name)"), /cannot tell/);
  t.throws(() => importsOf("lib/x/y.ts", "require(`./name.ts`)"), /cannot tell/);
});

t.test("circles of files", async (t) => {
  t.same(fileCircles(graph({ "a.ts": ["b.ts", "node:fs"], "b.ts": ["c.ts"], "c.ts": [] })), []);
  t.same(
    fileCircles(graph({ "a.ts": ["b.ts", "c.ts"], "b.ts": ["d.ts"], "c.ts": ["d.ts"], "d.ts": [] })),
    [],
  );
  t.same(fileCircles(graph({ "a.ts": ["a.ts"] })), ["a.ts"]);
  t.same(fileCircles(graph({ "a.ts": ["b.ts"], "b.ts": ["c.ts"], "c.ts": ["a.ts"], "d.ts": ["a.ts"] })), [
    "a.ts ⇄ b.ts ⇄ c.ts",
  ]);
  t.same(
    fileCircles(graph({ "d.ts": ["c.ts"], "c.ts": ["d.ts", "a.ts"], "b.ts": ["a.ts"], "a.ts": ["b.ts"] })),
    ["a.ts ⇄ b.ts", "c.ts ⇄ d.ts"],
  );
});

t.test("circles of folders", async (t) => {
  const oneWay = {
    "x/p/a.ts": ["x/q/b.ts", "x/c.ts"],
    "x/q/b.ts": ["x/c.ts"],
    "x/c.ts": [],
    "y/d.ts": ["x/p/a.ts"],
  };
  t.same(folderCircles(graph(oneWay)), []);
  t.same(folderCircles(graph({ "x/p/a.ts": ["x/p/b.ts"], "x/p/b.ts": ["x/p/a.ts"] })), [], "files alone");
  const byOtherFiles = { "x/p/a.ts": ["x/q/b.ts"], "x/q/b.ts": [], "x/q/c.ts": ["x/p/d.ts"], "x/p/d.ts": [] };
  t.same(folderCircles(graph(byOtherFiles)), ["x/p/ ⇄ x/q/"]);
  t.same(fileCircles(graph(byOtherFiles)), [], "though no file is in a circle");
  const deep = { "x/p/1/a.ts": ["y/q/b.ts"], "y/q/b.ts": [], "y/r/c.ts": ["x/p/2/d.ts"], "x/p/2/d.ts": [] };
  t.same(folderCircles(graph(deep)), ["x/ ⇄ y/"], "below different folders");
  const three = {
    "x/p/a.ts": ["x/q/b.ts"],
    "x/q/b.ts": ["x/r/c.ts"],
    "x/r/c.ts": ["x/p/d.ts"],
    "x/p/d.ts": [],
  };
  t.same(folderCircles(graph(three)), ["x/p/ ⇄ x/q/ ⇄ x/r/"]);
  const beside = { "x/a.ts": ["x/p/b.ts"], "x/p/b.ts": [], "x/p/c.ts": ["x/a.ts"] };
  t.same(folderCircles(graph(beside)), ["x/a.ts ⇄ x/p/"], "a file beside a folder");
  const within = { "x/p/a.ts": ["x/p/q/b.ts"], "x/p/q/b.ts": [] };
  t.same(folderCircles(graph(within)), [], "a folder and its own subfolder are one way");
});

t.test("imports against the layers", async (t) => {
  const faultsOf = (from: string, to: string) => layerFaults(graph({ [from]: [to] }), ["agent/main.ts"]);
  for (const [from, to] of [
    ["lib/a.ts", "agent/b.ts"],
    ["lib/a.ts", "node:fs"],
    ["lib/a.ts", "pino"],
    ["lib/a.ts", "@fastify/swagger"],
    ["agent/reconciler/a.ts", "agent/api/b.ts"],
    ["agent/cli/a.ts", "agent/api/b.ts"],
    ["agent/api/a.ts", "agent/cli/b.ts"],
    ["agent/log.ts", "agent/cli/b.ts"],
    ["agent/log.ts", "agent/client/b.ts"],
    ["agent/client/a.ts", "agent/log.ts"],
    ["agent/client/a.ts", "lib/b.ts"],
    ["agent/ui/a.ts", "lib/b.ts"],
    ["agent/ui/a.ts", "agent/client/client.ts"],
    ["agent/api/a.ts", "agent/ui/b.ts"],
    ["agent/main.ts", "test/support/a.ts"],
  ] as const) {
    t.equal(faultsOf(from, to).length, 1, `${from} → ${to}`);
  }
  for (const [from, to] of [
    ["lib/a.ts", "lib/b/c.ts"],
    ["lib/a.ts", "typebox"],
    ["agent/ui/a.ts", "agent/client/types.ts"],
    ["agent/a.ts", "lib/b.ts"],
    ["agent/a.ts", "node:fs"],
    ["agent/main.ts", "agent/api/api.ts"],
    ["agent/main.ts", "agent/cli/cli.ts"],
    ["agent/cli/a.ts", "agent/client/b.ts"],
    ["agent/client/a.ts", "agent/client/b.ts"],
    ["agent/client/a.ts", "node:http"],
    ["agent/api/a.ts", "agent/api/b.ts"],
    ["agent/api/a.ts", "agent/reconciler/b.ts"],
  ] as const) {
    t.same(faultsOf(from, to), []);
  }
});

t.test("names of one address family", async (t) => {
  for (const text of [
    'import { ipv4 } from "../model/ipv4.ts";',
    "export type Ipv4Range = readonly [number, number];",
    'const type = "ipv4_addr";',
    'const key = "net.ipv4.ip_forward";',
    "const header = Uint8Array.of(AF_INET, 0, 0, 0);",
    "const value = toU32(address);",
    'const host = ip("10.0.0.1/32");',
    "const hosts = 2 ** (32 - length);",
    'const any = "0.0.0.0/0";',
    'const text = "table ip natgw";',
    `const label = \`ip \${name}\`;`,
    'await run(["nft", "list", "tables", "ip"]);',
  ])
    t.not(familyNamesIn(text).length, 0, text);
  for (const text of [
    "/** An IPv4 address, as 0.0.0.0/0. */\nconst a = 1;",
    "// 127.0.0.1\nconst a = 1; // AF_INET, or a /32",
    "const { bits } = family;",
    "const size = 32 << 20;",
    'const argv = ["ip", "-o", "monitor"];',
    `const text = \`eip \${name}\`;`,
  ])
    t.same(familyNamesIn(text), [], text);
});

t.test("long files", async (t) => {
  const counted = new Map([
    ["a.ts", 300],
    ["b.ts", 301],
  ]);
  t.same(longFiles(counted, 300), ["b.ts"]);
});

t.test("test files without a source", async (t) => {
  const sources = ["agent/main.ts", "lib/plan/judge.ts", "lib/plan/network/routes.ts"];
  const good = [
    "test/unit/agent/main.test.ts",
    "test/unit/lib/plan/judge.test.ts",
    "test/property/lib/plan/plan.test.ts",
    "test/unit/lib/plan/network/network.test.ts",
    "test/unit/lib/plan/network/routes-of-old.test.ts",
    "test/unit/lib/plan/network/network-faults.test.ts",
  ];
  t.same(unmirroredTests(good, sources), []);
  const bad = [
    "test/unit/judge.test.ts",
    "test/unit/lib/judge.test.ts",
    "test/unit/lib/plan/routes.test.ts",
    "test/unit/lib/plan/network/judge.test.ts",
    "test/unit/lib/plan/network/driver.test.ts",
    "test/unit/lib/plan/old-network.test.ts",
    "test/unit/lib/compile/compile.test.ts",
  ];
  t.same(unmirroredTests(bad, sources), bad);
});
