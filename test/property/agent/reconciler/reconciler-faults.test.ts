/**
 * Failing tools, truncated readings, a full disk, hosts that claim addresses, expiring leases, refused objects: none of
 * it affects other objects, and no status is ever wrong.
 */
import t from "tap";
import { checkTheme } from "../../../support/model-kernel/check.ts";
import { Player } from "../../../support/model-kernel/player.ts";
import type { Step } from "../../../support/model-kernel/script.ts";
import { dataplanes, faultsOf } from "../../../support/model-kernel/themes.ts";

const everything = {
  traffic: true,
  drift: true,
  kills: true,
  faults: true,
  wire: true,
  lives: true,
  leases: true,
};

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    await t.test("faults", (t) => checkTheme(t, dataplane, { traffic: true, faults: true }, 110));
    await t.test("conflicts with other hosts, and leases", (t) =>
      checkTheme(t, dataplane, { traffic: true, wire: true, leases: true, kills: true }, 90),
    );
    // A refusal of the legacy kernel interface may be a lost race, which takes time to tell.
    await t.test("refused objects", (t) =>
      checkTheme(
        t,
        dataplane,
        { traffic: true, refused: true, wire: true },
        dataplane === "legacy" ? 10 : 50,
      ),
    );
    await t.test("all at once", (t) => checkTheme(t, dataplane, everything, 110));
    await t.test("all at once, with incremental passes", (t) =>
      checkTheme(t, dataplane, { ...everything, isServing: true, lives: false }, 40),
    );
  });
}

t.test("regression scripts", async (t) => {
  const pass: Step = { do: "pass", isResync: false, during: [] };
  const eip = (number: number): Step => ({
    do: "put",
    kind: "eip",
    spec: { name: `e${number}`, address: `203.0.113.1${number}/24` },
  });
  const fip = (internalIp: string): Step => ({
    do: "put",
    kind: "fip",
    spec: { name: "f0", eip: "e2", internalIp },
  });
  const outward: Step = {
    do: "put",
    kind: "snat",
    spec: { name: "s0", eip: "e2", internalCIDR: "10.0.1.0/24" },
  };

  await t.test("an Eip is not blamed for the refused FIP that uses it", async (t) => {
    t.same(await faultsOf([fip("10.0.1.66"), eip(2), outward], "nft", { refused: true }), []);
  });

  await t.test("an object whose old flows could not be checked is not Ready", async (t) => {
    const early: Step = { do: "open", from: 1, to: 2, transport: "tcp", port: 80, sourcePort: 40_001 };
    for (const fault of ["flows-unreadable", "flows-stay"] as const)
      t.same(
        await faultsOf(
          [pass, early, eip(2), fip("10.0.1.6"), pass, { do: "fault", fault, at: 0 }, pass],
          "nft",
        ),
        [],
      );
  });

  await t.test("an Eip with the address of another whose flows remain is not Ready", async (t) => {
    const inward: Step = {
      do: "open",
      from: "outside",
      to: 2,
      transport: "tcp",
      port: 80,
      sourcePort: 40_001,
    };
    const another: Step = {
      do: "set",
      objects: [{ kind: "eip", spec: { name: "e0", address: "203.0.113.12/24" } }],
    };
    const stay: Step = { do: "fault", fault: "flows-stay", at: 0 };
    for (const dataplane of dataplanes)
      t.same(
        await faultsOf([eip(2), fip("10.0.1.6"), pass, pass, inward, stay, another, pass], dataplane),
        [],
      );
  });

  await t.test("neither a refused address nor a stream of new Eips keeps the gate closed", async (t) => {
    const player = new Player("nft");
    t.teardown(() => player.stop());
    await player.play([eip(2), outward, pass]);
    t.notOk(player.agent.isReady, "it waits for what was desired at the start");
    await player.play([eip(0), { do: "fault", fault: "address-refused", at: 0 }, pass]);
    t.ok(player.agent.isReady, "and for nothing that came later");
    t.ok(player.agent.findings?.planAfter.addresses.add.length, "though an address is not there yet");
    t.notOk(player.agent.board.statusOf("snats/s0").ready);
    t.same(player.judge.violations, []);
  });
});
