/** How likely a new connection finds a port: against the kernel's algorithm, played many times. */
import t from "tap";
import { capacityOf, chanceOf, type TakenPorts } from "../../../../lib/explain/ports.ts";
import { randomFrom } from "../../../support/random.ts";

function ports(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

t.test("the ports of each range", async (t) => {
  t.same(
    [undefined, 1_024, 65_535, 511, 512, 1_023].map(capacityOf),
    [64_512, 64_512, 64_512, 511, 424, 424],
  );
});

t.test("what is certain", async (t) => {
  const all = ports(1_024, 65_536);
  t.equal(chanceOf({ live: [], closing: [] }, undefined), 1);
  t.equal(chanceOf({ live: all.slice(0, 127), closing: [] }, undefined), 1, "fewer than the tries in a row");
  t.equal(chanceOf({ live: all, closing: [] }, undefined), 0);
  t.ok(chanceOf({ live: [], closing: all }, undefined) > 0.999, "half of so many closing ones give way");
  t.equal(chanceOf({ live: all, closing: [] }, 500), 1, "another range");
  t.equal(chanceOf({ live: ports(1, 512), closing: [] }, 500), 0);
});

/** As `nf_nat_l4proto_unique_tuple` of nf_nat_core.c looks for a port. */
function isFound(
  { live, closing }: { live: ReadonlySet<number>; closing: ReadonlySet<number> },
  random: () => number,
) {
  for (let row = 128; ; row /= 2) {
    const start = Math.floor(random() * 64_512);
    for (let at = 0; at < row; at++) {
      const port = 1_024 + ((start + at) % 64_512);
      if (closing.has(port)) {
        if (row - at <= 32 && random() < 0.5) return true;
      } else if (!live.has(port)) return true;
    }
    if (row < 16) return false;
  }
}

t.test("the chance is that of the kernel's algorithm", async (t) => {
  const random = randomFrom(7);
  const all = ports(1_024, 65_536);
  // Used ports lie together, because the kernel takes the next free one.
  const cases: readonly TakenPorts[] = [
    { live: all.slice(0, 58_000), closing: [] },
    { live: all.filter(() => random() < 0.995), closing: [] },
    { live: all.slice(0, 64_000), closing: all.slice(64_000, 64_400) },
    { live: all.filter((port) => port % 40 !== 0), closing: all.filter((port) => port % 40 === 0) },
  ];
  for (const taken of cases) {
    const sets = { live: new Set(taken.live), closing: new Set(taken.closing) };
    const rounds = 20_000;
    let found = 0;
    for (let round = 0; round < rounds; round++) if (isFound(sets, random)) found++;
    const chance = chanceOf(taken, undefined);
    t.ok(Math.abs(chance - found / rounds) < 0.02, `${chance} and ${found / rounds}`);
  }
});
