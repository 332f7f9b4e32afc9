/** When an incremental pass adds an Eip, what it does about it, and when a full pass has to. On a kernel in memory. */
import t, { type Test } from "tap";
import { Player } from "../../../../support/model-kernel/player.ts";
import type { Step, Typed } from "../../../../support/model-kernel/script.ts";
import { dataplanes } from "../../../../support/model-kernel/themes.ts";

const full: Step = { do: "pass", isResync: true, during: [] };
const woken: Step = { do: "pass", isResync: false, during: [] };
const eip = (number: number, more = {}): Typed => ({
  kind: "eip",
  spec: { name: `e${number}`, address: `203.0.113.1${number}/24`, ...more },
});
const fip = (number: number, internalIp: string): Typed => ({
  kind: "fip",
  spec: { name: `f${number}`, eip: `e${number}`, internalIp },
});
const snat = (number: number): Typed => ({
  kind: "snat",
  spec: { name: `s${number}`, eip: `e${number}`, internalCIDR: "10.0.1.0/24" },
});
const put = (typed: Typed): Step => ({ do: "put", ...typed });

/** Plays the steps on a gateway at rest with these objects and an Eip. @returns what the last pass was and left */
async function last(
  t: Test,
  objects: readonly Typed[],
  steps: readonly Step[],
  { dataplane = dataplanes[0], isProbing = false } = {},
) {
  const player = new Player(dataplane ?? "nft", undefined, isProbing);
  t.teardown(() => player.stop());
  await player.play([{ do: "set", objects: [eip(0), ...objects] }, full, full, full, ...steps.slice(0, -1)]);
  const before = player.incrementalPasses;
  await player.play(steps.slice(-1));
  t.strictSame(player.judge.violations, []);
  return {
    isIncremental: player.incrementalPasses > before,
    ready: player.agent.readyObjects(),
    flows: [...player.kernel.tracer.flows].length,
  };
}

t.test("an added Eip and its users need no full pass", async (t) => {
  for (const dataplane of dataplanes) {
    const { isIncremental, ready } = await last(t, [fip(3, "10.0.1.5")], [put(eip(3)), woken], {
      dataplane,
    });
    t.ok(isIncremental, dataplane);
    t.strictSame(ready, ["eips/e0", "eips/e3", "fips/f3"], dataplane);
  }
});

t.test("a pod's connection to an address that becomes an EIP is ended", async (t) => {
  const early: Step = { do: "open", from: 0, to: 3, transport: "tcp", port: 80, sourcePort: 40_001 };
  const { isIncremental, flows } = await last(t, [snat(0)], [early, put(eip(3)), woken]);
  t.strictSame([isIncremental, flows], [true, 0]);
});

t.test("in every unusual case a full pass follows", async (t) => {
  const taken: Step = { do: "foreign address", address: "203.0.113.13", prefixLength: 24 };
  const cases: Readonly<
    Record<string, readonly [objects: readonly Typed[], steps: readonly Step[], isProbing?: true]>
  > = {
    "an SNAT waits for it": [[snat(3)], [put(eip(3)), woken]],
    "an object translates to its address": [[fip(0, "203.0.113.13")], [put(eip(3)), woken]],
    "its address is there already": [[], [taken, full, put(eip(3)), woken]],
    "it is not held": [
      [],
      [put(eip(3, { bound: false })), put(fip(3, "10.0.1.5")), woken, put(eip(3)), woken],
    ],
    "it moves": [[eip(1)], [put(eip(1, { address: "203.0.113.13/24" })), woken]],
    "it goes": [[eip(1)], [{ do: "remove", kind: "eip", name: "e1" }, woken]],
    "its address was refused": [[], [{ do: "fault", fault: "address-refused", at: 0 }, put(eip(3)), woken]],
    "the network cannot be read": [
      [],
      [{ do: "fault", fault: "network-unreadable", at: 0 }, put(eip(3)), woken],
    ],
    "the ledger cannot be written": [[], [put(eip(3)), { do: "disk full", isFull: true }, woken]],
    "its address has to be probed for": [[], [put(eip(3)), woken], true],
    "an address of the gateway's own went unnoticed": [
      [eip(1)],
      [{ do: "delete address", number: 0 }, put(eip(3)), woken],
    ],
  };
  for (const [name, [objects, steps, isProbing]] of Object.entries(cases))
    t.notOk((await last(t, objects, steps, isProbing && { isProbing })).isIncremental, name);
});
