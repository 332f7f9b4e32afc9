/** When the leftovers of another dataplane are read again. */
import t from "tap";
import type { PreviousDataplane } from "../../../../../agent/kernel/drivers.ts";
import { PreviousDataplaneSubsystem } from "../../../../../agent/reconciler/subsystems/previous-dataplane.ts";
import { nftablesRemoval } from "../../../../../lib/plan/nftables/removal.ts";

const { signal } = new AbortController();

/** A kernel with tables, and what is seen of them. */
function setUp() {
  const kernel = {
    tables: new Set<string>(),
    readings: 0,
    isBroken: false,
    leftovers: async (): Promise<string[]> => [],
  };
  const dataplane: PreviousDataplane<ReadonlySet<string>, unknown> = {
    name: "nftables",
    planner: nftablesRemoval,
    async observe() {
      if (kernel.isBroken) throw new Error("cut short");
      kernel.readings++;
      return new Set(kernel.tables);
    },
    write: async () => ({ kind: "done" }),
  };
  const subsystem = new PreviousDataplaneSubsystem({
    open: async () => [dataplane as PreviousDataplane],
    leftovers: () => kernel.leftovers(),
  });
  const isPresent = async () => subsystem.facts(await subsystem.observe(signal)).isPreviousPresent;
  return { kernel, isPresent, subsystem };
}

t.test("leftovers that come later are found, and nothing is read without any", async (t) => {
  const { kernel, isPresent } = setUp();
  t.notOk(await isPresent());
  t.notOk(await isPresent());
  t.equal(kernel.readings, 1);
  kernel.tables.add("natgw");
  kernel.leftovers = async () => ["nft ip natgw, generation 7"];
  t.ok(await isPresent());
  t.ok(await isPresent());
  t.equal(kernel.readings, 2, "as long as they are the same");
  kernel.leftovers = async () => ["nft ip natgw, generation 8"];
  t.ok(await isPresent());
  t.equal(kernel.readings, 3);
});

t.test("what cannot be read now does not change what is known", async (t) => {
  const { kernel, isPresent } = setUp();
  kernel.leftovers = async () => ["nft ip natgw, generation 7"];
  t.notOk(await isPresent());
  t.notOk(await isPresent(), "what a start found may be older than the leftovers");
  t.equal(kernel.readings, 2);
  kernel.leftovers = () => Promise.reject(new Error("cut short"));
  t.notOk(await isPresent());
  kernel.leftovers = async () => ["nft ip natgw, generation 7"];
  t.notOk(await isPresent());
  t.equal(kernel.readings, 2);
});

t.test("a reading that fails is tried again", async (t) => {
  const { kernel, isPresent } = setUp();
  t.notOk(await isPresent());
  kernel.tables.add("natgw");
  kernel.leftovers = async () => ["nft ip natgw, generation 7"];
  kernel.isBroken = true;
  await t.rejects(isPresent());
  kernel.isBroken = false;
  t.ok(await isPresent());
});

t.test("what is forgotten while it is read is still what this reading found", async (t) => {
  const { kernel, isPresent, subsystem } = setUp();
  kernel.tables.add("natgw");
  t.ok(await isPresent());
  kernel.leftovers = async () => {
    subsystem.forget();
    return [];
  };
  t.ok(await isPresent());
  kernel.leftovers = async () => [];
  kernel.tables.clear();
  t.notOk(await isPresent(), "and the next one is anew");
});
