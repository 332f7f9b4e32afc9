/** A requested full pass also tries the objects that the kernel refused. */
import t from "tap";
import { Player } from "../../../support/model-kernel/player.ts";
import type { Step } from "../../../support/model-kernel/script.ts";
import { refusedPod } from "../../../support/model-kernel/universe.ts";

const pass: Step = { do: "pass", isResync: true, during: [] };
const objects: Step = {
  do: "set",
  objects: [
    { kind: "eip", spec: { name: "e2", address: "203.0.113.12/24" } },
    { kind: "fip", spec: { name: "f0", eip: "e2", internalIp: refusedPod } },
  ],
};

for (const dataplane of ["nft", "nftables"] as const) {
  t.test(dataplane, async (t) => {
    const player = new Player(dataplane, new RegExp(refusedPod.replaceAll(".", "\\.")));
    t.teardown(() => player.stop());
    const reason = () => player.agent.board.statusOf("fips/f0").conditions[2]?.reason;
    const { tables, natTable } = player.kernel;
    await player.play([objects, pass, pass]);
    t.equal(reason(), "Quarantined");

    tables.refused = undefined;
    if (natTable !== undefined) natTable.refused = undefined;
    await player.play([pass]);
    t.equal(reason(), "Quarantined", "other passes wait for its next try");
    await player.agent.reconcile();
    t.equal(reason(), "Ready");
  });
}
