import t from "tap";
import { UsageFailure } from "../../../../agent/cli/failures.ts";
import { parseManifest } from "../../../../agent/cli/manifest.ts";
import { yamlDocuments } from "../../../../agent/cli/yaml-documents.ts";

const parse = (text: string) => {
  const parsed = yamlDocuments(text);
  if ("error" in parsed) throw new UsageFailure(parsed.error);
  return parseManifest(parsed.documents, "f");
};
const eip = { name: "a", address: "203.0.113.10/24" };

t.test("a set with a generation replaces, anything else adds", async (t) => {
  const others = "fips: []\nsnats: []\ndnats: []\nroutes: []\ngateway: {}";
  t.match(parse(`generation: 3\neips: [{ name: a, address: 203.0.113.10/24 }]\n${others}`), {
    kind: "set",
    generation: 3,
    specs: { eips: [eip] },
  });
  const objects = { kind: "objects", specs: { eips: [eip] } };
  for (const text of [
    "eips: [{ name: a, address: 203.0.113.10/24 }]",
    "kind: Eip\nname: a\nspec: { address: 203.0.113.10/24 }\nstatus: { ready: true }\nrevision: 7",
    "kind: eip\nname: a\naddress: 203.0.113.10/24",
    "items: [{ kind: Eip, name: a, spec: { address: 203.0.113.10/24 } }]",
    "- { kind: Eip, name: a, address: 203.0.113.10/24 }",
    "---\n---\nkind: Eip\nname: a\naddress: 203.0.113.10/24\n---\n",
  ])
    t.same(parse(text), objects, text);
  t.same(parse("{kind: Fip, name: f}\n---\neips: [{name: a}]\n").specs, {
    fips: [{ name: "f" }],
    eips: [{ name: "a" }],
  });
});

t.test("what is neither", async (t) => {
  for (const [text, message] of [
    ["", /nothing in it/],
    ["# nothing", /nothing in it/],
    ["42", /neither a set/],
    ["a: 1", /neither a set/],
    ["kind: Pod", /no kind Pod/],
    ["generation: 1\npods: []", /pods is not part of a set/],
    // What would empty the gateway.
    ["generation: 1\neips: []\nfips: []", /replaces everything; it lacks snats, dnats, routes/],
    ["generation: '1'\neips: []", /must be alone, and the generation a number/],
    ["generation: 1\neips: []\n---\nfips: []", /must be alone/],
    ["eips: {}", /eips must be a list/],
    ["eips: [1]", /eips must be a list of objects/],
    ["a: [", /at line 1/],
    ["a: 1\na: 2", /unique/],
    [
      `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefghij"
        .split("")
        .map(
          (key, at) =>
            `${key}: &${key} [${"*abcdefghi"[at + 1] ? Array(9).fill(`*${"abcdefghij"[at]}`).join(",") : ""}]`,
        )
        .join("\n")}`,
      /alias/i,
    ],
  ] as const)
    t.throws(() => parse(text), { exitCode: 2, message }, text.slice(0, 40));
});
