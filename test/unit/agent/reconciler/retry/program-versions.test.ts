import t from "tap";
import {
  type ProgramInput,
  ProgramVersions,
} from "../../../../../agent/reconciler/retry/program-versions.ts";
import type { ObjectId } from "../../../../../lib/model/names.ts";

const input = (revision: number, ...blocked: ObjectId[]): ProgramInput => ({
  state: { desired: { revision } },
  blocked: new Map(blocked.map((id) => [id, { isAccepted: true, reason: "Pending", message: "" }])),
});

t.test("the version changes with the revision and with the objects that are kept out", async (t) => {
  const versions = new ProgramVersions();
  const of = (...given: Parameters<typeof input>) => versions.versionOf(input(...given));
  const first = of(1, "fips/a", "fips/b");
  t.equal(of(1, "fips/b", "fips/a"), first, "in any order");
  const inputs: readonly Parameters<typeof input>[] = [
    [2, "fips/a", "fips/b"],
    [2, "fips/a", "fips/c"],
    [2, "fips/a"],
    [2],
  ];
  const seen = new Set([first]);
  for (const one of inputs) {
    const version = of(...one);
    t.notOk(seen.has(version), one.join());
    t.equal(of(...one), version, "the same again");
    seen.add(version);
  }
});
