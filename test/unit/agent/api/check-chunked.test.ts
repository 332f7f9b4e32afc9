import t from "tap";
import { Compile } from "typebox/schema";
import { compileCheck } from "../../../../agent/api/check-chunked.ts";
import type { PlainSchema } from "../../../../agent/api/input-issues.ts";
import { BatchSchema, FullSetSchema } from "../../../../lib/admission/requests.ts";
import { runSync } from "../../../../lib/chunked.ts";

const eip = { name: "eip-a", address: "203.0.113.10/24" };
const dnat = { name: "d", eip: "eip-a", protocol: "tcp", externalPort: 80 };
const full = { generation: 1, eips: [], fips: [], snats: [], dnats: [], routes: [] };

t.test("the verdict is that of the compiled schema", async (t) => {
  const sets: unknown[] = [
    full,
    { ...full, eips: [eip, eip] },
    { ...full, eips: [eip, { ...eip, more: 1 }] },
    { ...full, eips: [eip, { ...eip, name: "A" }] },
    { ...full, eips: {} },
    { ...full, eips: [[]] },
    { ...full, eips: undefined },
    { ...full, limits: [] },
    { ...full, limits: 1 },
    { ...full, generation: -1 },
    { ...full, generation: "1" },
    { ...full, more: [] },
    { ...full, gateway: { defaultGateway: "203.0.113.1" } },
    { ...full, gateway: { defaultGateway: "x" } },
    { ...full, dnats: [{ ...dnat, backends: [{ ip: "10.0.1.5", port: 80 }] }] },
    { ...full, dnats: [{ ...dnat, backends: [{ ip: "10.0.1.5", port: 0 }] }] },
    {
      ...full,
      dnats: [{ ...dnat, backends: Array.from({ length: 257 }, () => ({ ip: "10.0.1.5", port: 1 })) }],
    },
    { ...full, eips: Array.from({ length: 50_000 }, () => eip) },
    { ...full, eips: Array.from({ length: 50_001 }, () => eip) },
    { ...full, eips: [...Array.from({ length: 1_000 }, () => eip), 1] },
    Object.create({ ...full }),
    ...["eips", "fips", "generation"].map((name) =>
      Object.fromEntries(Object.entries(full).filter(([key]) => key !== name)),
    ),
    [],
    null,
    "x",
  ];
  const batches: unknown[] = [
    {},
    { upsert: {} },
    { upsert: { eips: [eip] }, delete: { fips: ["a"] } },
    { upsert: { eips: [{}] } },
    { upsert: [] },
    { upsert: { eips: [eip], more: [] } },
    { delete: { fips: ["a", 1] } },
    { delete: { fips: ["a", "A"] } },
    { delete: { fips: "a" } },
    { more: 1 },
  ];
  for (const [schema, values] of [
    [FullSetSchema, sets],
    [BatchSchema, batches],
  ] as const) {
    const check = compileCheck(schema as unknown as PlainSchema);
    const compiled = Compile(schema);
    const verdicts = values.map((value) => runSync(check(value)));
    t.same(
      verdicts,
      values.map((value) => compiled.Check(value)),
    );
    t.ok(verdicts.includes(true) && verdicts.includes(false));
  }
});

t.test("a long list takes many parts", async (t) => {
  const check = compileCheck(FullSetSchema as unknown as PlainSchema);
  const parts = [...check({ ...full, eips: Array.from({ length: 50_000 }, () => eip) })];
  t.ok(parts.length >= 200, `${parts.length}`);
  t.equal([...check({ ...full, eips: [eip] })].length, 0, "a short one takes none");
});
