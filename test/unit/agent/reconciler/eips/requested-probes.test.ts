/** A write of an EIP that another host holds starts a probe at once, however long that host has held it. */
import t, { type Test } from "tap";
import type { ObjectId } from "../../../../../lib/model/names.ts";
import { Player } from "../../../../support/model-kernel/player.ts";
import type { Step } from "../../../../support/model-kernel/script.ts";
import { eipAddresses } from "../../../../support/model-kernel/universe.ts";

const pass: Step = { do: "pass", isResync: true, during: [] };
const put: Step = { do: "put", kind: "eip", spec: { name: "e2", address: "203.0.113.12/24" } };
const putFip: Step = { do: "put", kind: "fip", spec: { name: "f0", eip: "e2", internalIp: "10.0.1.6" } };
const address = eipAddresses[2];

/** A gateway that has waited for hours for an EIP that another host holds. */
async function inConflict(test: Test) {
  const player = new Player("nft");
  test.teardown(() => player.stop());
  await player.play([{ do: "claim", number: 2, isClaimed: true }, put, putFip, pass, pass]);
  for (let hour = 0; hour < 3; hour++) await player.play([{ do: "time", ms: 3_600_000 }, pass, pass]);
  // A batch of probes is followed by a pause.
  await player.play([{ do: "time", ms: 200 }]);
  const reason = () => player.agent.board.statusOf("eips/e2").conditions[2]?.reason;
  test.equal(reason(), "AddressConflict");
  const probes = () => (address === undefined ? 0 : (player.wire.probes.get(address) ?? 0));
  return { player, reason, probes };
}

t.test("a write of the Eip or of its user waits for the probe", async (t) => {
  for (const id of ["eips/e2", "fips/f0"] as const satisfies readonly ObjectId[]) {
    const { player, reason, probes } = await inConflict(t);
    const before = probes();
    t.ok((await player.agent.probeFor([id], 5_000)) > 0);
    t.equal(probes(), before + 1);
    t.equal(reason(), "AddressConflict", "it is held still");
    await player.play([
      { do: "claim", number: 2, isClaimed: false },
      { do: "time", ms: 200 },
    ]);
    t.ok((await player.agent.probeFor([id], 5_000)) > 0);
    t.equal(reason(), "Ready", `${id}: a pass took what is free now`);
  }
});

t.test("a write after a probe found the address free waits for the pass that takes it", async (t) => {
  for (const id of ["eips/e2", "fips/f0"] as const satisfies readonly ObjectId[]) {
    const { player, reason, probes } = await inConflict(t);
    await player.play([
      { do: "claim", number: 2, isClaimed: false },
      { do: "time", ms: 3_600_000 },
    ]);
    await player.agent.probeAgain();
    const before = probes();
    t.equal(reason(), "AddressConflict", "the pass has not run yet");
    t.ok((await player.agent.probeFor([id], 5_000)) > 0);
    t.equal(reason(), "Ready", id);
    t.equal(probes(), before, "without another probe");
  }
});

t.test("a write of other objects sends no probe and does not wait", async (t) => {
  const { player, probes } = await inConflict(t);
  const before = probes();
  t.ok((await player.agent.probeFor(["eips/e9", "routes/r"], 5_000)) > 0);
  t.equal(probes(), before);
});

t.test("a request waits only if asked to, and not longer than asked", async (t) => {
  const { player, probes } = await inConflict(t);
  player.wire.isSlow = true;
  const before = probes();
  t.equal(await player.agent.probeFor(["eips/e2"], 0), 0);
  t.equal(probes(), before + 1, "but it is probed");
  await player.play([{ do: "time", ms: 200 }]);
  t.equal(await player.agent.probeFor(["eips/e2"], 20), 0);
  player.wire.answer();
});

t.test("a requested full pass probes for all of them", async (t) => {
  const { player, probes } = await inConflict(t);
  const before = probes();
  await player.agent.reconcile();
  await player.play([pass]);
  t.equal(probes(), before + 1);
  await player.play([{ do: "time", ms: 200 }, pass]);
  t.equal(probes(), before + 1, "once");
});
