import fc from "fast-check";
import t from "tap";
import { parse } from "yaml";
import { toYaml } from "../../../../lib/text/yaml.ts";

t.test("a set reads well", async (t) => {
  const set = {
    generation: 2,
    gateway: { defaultGateway: "203.0.113.1" },
    eips: [{ name: "eip-a", address: "203.0.113.10/24", bound: false }],
    dnats: [
      {
        name: "123",
        backends: [
          { ip: "10.0.1.5", port: 53 },
          { ip: "10.0.1.6", port: 53 },
        ],
      },
    ],
    routes: [],
    empty: {},
    absent: undefined,
  };
  t.equal(
    toYaml(set),
    `generation: 2
gateway:
  defaultGateway: 203.0.113.1
eips:
- name: eip-a
  address: 203.0.113.10/24
  bound: false
dnats:
- name: "123"
  backends:
  - ip: 10.0.1.5
    port: 53
  - ip: 10.0.1.6
    port: 53
routes: []
empty: {}
`,
  );
});

t.test("texts that could be read as another value are quoted", async (t) => {
  for (const text of [
    "yes",
    "null",
    "~",
    "1",
    "1.5",
    "0x10",
    "1e3",
    "2026-01-01",
    "a: b",
    "a #b",
    "",
    " a",
    "- a",
    "1:30",
    ".inf",
    "y",
    "12e03",
  ])
    for (const version of ["1.1", "1.2"] as const) t.equal(parse(toYaml({ a: text }), { version }).a, text);
});

t.test("a parser returns the same value, and the text is ASCII", async (t) => {
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string(),
    fc.constantFrom("true", "a:", "#", "---", "\u001b[2J", "203.0.113.1"),
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      texts,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("tree"), { maxLength: 4 }),
      fc.dictionary(texts, tie("tree"), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      const text = toYaml(value);
      t.same(/^[\x20-\x7e\n]*$/.test(text), true);
      const parsed: unknown = parse(text);
      if (JSON.stringify(parsed) !== JSON.stringify(value))
        throw new Error(`${text}\n${JSON.stringify(parsed)}`);
    }),
    { numRuns: 300 },
  );
});
