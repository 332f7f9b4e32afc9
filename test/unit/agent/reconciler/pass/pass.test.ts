/** A full pass over the model kernel, where parts of it cannot be done, or a tool lies. */
import t from "tap";
import { maxQuickRepairs } from "../../../../../agent/reconciler/retry/repair-throttle.ts";
import { leaveOut, pass, playOneFip } from "../../../../support/model-kernel/one-fip.ts";

t.test("while the disk is full, an address is repaired, and one that the ledger lacks waits", async (t) => {
  const player = await playOneFip(t);
  const held = () =>
    player.kernel.network.observe().addresses.some(({ address }) => address === "203.0.113.10");
  t.ok(held());
  const place = { interface: "net1" as never, address: "203.0.113.10" as never, prefixLength: 24 };
  player.kernel.network.removeAddress(place);
  t.notOk(held());
  await player.play([{ do: "disk full", isFull: true }, pass]);
  t.ok(held(), "it is in the ledger");

  await player.play([{ do: "renew" }, pass, pass]);
  t.notOk(held(), "the ledger of the new namespace could not be written");
  t.match(player.agent.findings?.failures, [{ stage: "ledger" }]);
  await player.play([{ do: "disk full", isFull: false }]);
  // The first passes may still be waiting for the answer to an ARP probe.
  for (let passes = 0; passes < 10 && !held(); passes++) await player.play([pass]);
  t.ok(held(), "written, then added");
});

for (const dataplane of ["nft", "legacy", "legacy without nft"] as const)
  t.test(
    `${dataplane}: a rule that is there twice because a tool left it out is removed by the next resync`,
    async (t) => {
      const player = await playOneFip(t, dataplane);
      const { kernel } = player;
      const held = () => kernel.tables.rules("nat", "EXCLUSIVE_DNAT").length;
      t.equal(held(), 1);
      const beHonest = leaveOut(kernel, /^-A EXCLUSIVE_DNAT -d .*\n/m);
      // What changed makes the agent read.
      await player.play([
        { do: "stray rule", chain: "SHARED_SNAT", rule: "-s 192.0.2.1/32 -j RETURN" },
        pass,
      ]);
      t.ok(held() > 1, "it was taken for missing");
      beHonest();
      await player.play([pass, pass]);
      t.equal(held(), 1);
    },
  );

t.test("leftovers of another dataplane are drift, unless they were there before", async (t) => {
  const player = await playOneFip(t, "legacy");
  const { kernel } = player;
  const { leftovers } = kernel;
  const text = "table ip natgw";
  const leave = async () => {
    leftovers.add("natgw");
    await player.play([pass]);
    return player.agent.findings;
  };
  for (let times = 0; times <= maxQuickRepairs; times++) {
    t.match(await leave(), { repairs: [{ action: "remove", text }], changes: [{ text }] });
    t.notOk(leftovers.has("natgw"));
  }
  const throttled = { changes: [], repairs: [], throttled: [{ change: { text } }], isClean: true };
  t.match(await leave(), throttled, "somebody makes them again and again");
  t.ok(leftovers.has("natgw"));
  t.match((await player.agent.preview()).changes, [{ action: "remove", text }], "a plan lists it");
  const [due = 0] = [player.agent.findings?.dueInMs];
  t.ok(due > 0 && due <= 500, "it is removed at the next time");
  await player.agent.reconcile();
  t.notOk(leftovers.has("natgw"), "and at once when somebody asks for it");
  t.strictSame((await player.agent.preview()).changes, []);

  await player.play([{ do: "kill" }]);
  kernel.faults.add("save-fails");
  await leave();
  t.ok(leftovers.has("natgw"), "the rules were not read");
  await player.play([pass]);
  t.notOk(leftovers.has("natgw"));
  t.strictSame(player.agent.findings?.repairs, [], "an earlier agent may have left them");

  await player.play([{ do: "kill" }]);
  await player.play([{ do: "stray rule", chain: "SHARED_SNAT", rule: "-s 192.0.2.1/32 -j RETURN" }]);
  const willing = kernel.command.bind(kernel);
  kernel.command = (argv, options) =>
    argv[0]?.endsWith("-restore")
      ? { exitCode: 4, stdout: "", stderr: "Resource busy" }
      : willing(argv, options);
  await leave();
  t.ok(leftovers.has("natgw"), "the rules were not repaired");
  kernel.command = willing;
  await player.play([pass]);
  t.notOk(leftovers.has("natgw"));
  t.strictSame(player.agent.findings?.repairs, []);
});
