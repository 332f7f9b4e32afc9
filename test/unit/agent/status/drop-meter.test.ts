/** Counters of dropped packets never go back, and reading them costs little. */
import t from "tap";
import { DropMeter } from "../../../../agent/status/drop-meter.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { DropCounter, DropCounts } from "../../../../lib/nftables/filter-tables.ts";

function meter(read: (signal: AbortSignal) => Promise<DropCounts>) {
  const told: Record<string, number> = {};
  let ms = 0;
  const drops = new DropMeter({
    read,
    onDropped: ({ reason, direction }, packets) => {
      if (packets < 0) throw new Error("a counter went back");
      told[`${reason} ${direction}`] = (told[`${reason} ${direction}`] ?? 0) + packets;
    },
    nowMs: () => ms,
  });
  return { drops, told, pass: (by: number) => (ms += by) };
}

const counts = (entries: readonly (readonly [DropCounter, number])[]): DropCounts =>
  new Map(entries.map(([counter, packets]) => [counter, { packets, bytes: packets * 40 }]));

t.test("packets that the kernel counted are reported once, also when its counters restart", async (t) => {
  let now = counts([
    ["guard_invalid_egress", 3],
    ["gate_egress", 1],
  ]);
  const { drops, told } = meter(async () => now);
  await drops.update();
  t.same(told, { "guard_invalid egress": 3, "gate egress": 1 });
  now = counts([["guard_invalid_egress", 5]]);
  await drops.update();
  t.equal(told["guard_invalid egress"], 5);
  now = counts([
    ["guard_invalid_egress", 2],
    ["gate_egress", 1],
  ]);
  await drops.update();
  t.same(told, { "guard_invalid egress": 7, "gate egress": 1 }, "made anew, it began at nothing");
});

t.test(
  "after a slow reading the next one waits; after a failed one the packets are reported later",
  async (t) => {
    let readings = 0;
    const { drops, pass } = meter(async () => {
      readings++;
      pass(20);
      if (readings === 1) throw new GatewayError("netlink-failed", "no answer");
      return counts([]);
    });
    await drops.update();
    await drops.update();
    t.equal(readings, 1);
    pass(1_999);
    await drops.update();
    t.equal(readings, 1);
    pass(1);
    await drops.update();
    t.equal(readings, 2, "a hundredth of a core");
    const broken = meter(async () => {
      throw new Error("a bug");
    });
    await t.rejects(broken.drops.update(), { message: "a bug" });
  },
);
