/** Row 12: one command per rule, as gateways are programmed today. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Measurement, Row } from "../measurement.ts";
import type { BarePlant } from "../plant.ts";
import { eipAddress, eipPrefixLength, fip, fipsOnly } from "../scenario.ts";
import { fitLine, median } from "../statistics.ts";
import { timeCommands, within } from "../timing.ts";

const script = fileURLToPath(new URL("../one-by-one.sh", import.meta.url));
/** FIPs that exist already when a sample is taken. */
const heldCounts = [0, 100, 300, 1_000, 3_000];
const totals = [100, 1_000, 10_000];

export const oneByOneRow: Row = {
  id: "12",
  title: "one command for each rule, for comparison",
  // No agent takes part. The rules are those of iptables-nft.
  dataplanes: ["iptables-nft"],
  async measure(bench) {
    await bench.clear();
    const { objects, runs } = bench.settings;
    const bare = await bench.barePlant();
    const found: Measurement[] = [];
    const points: (readonly [held: number, ms: number])[] = [];
    for (const held of heldCounts.filter((count) => count <= objects)) {
      bench.say(`one more FIP at ${held}`);
      await bare.renew();
      bare.load("iptables-nft", fipsOnly(held));
      const samples = Array.from({ length: runs }, (_, run) => timeFip(bare, held + run + 1));
      points.push([held, median(samples)]);
      found.push({ what: `eip-add and floating-ip-add at ${held}`, unit: "ms", samples });
    }
    const arpingMs = timeArping(bare);
    await bench.clear();
    const { intercept, slope } = fitLine(points);
    for (const total of totals) {
      const silentMs = total * intercept + (slope * total ** 2) / 2;
      const words =
        arpingMs === undefined
          ? "arping is not installed: not added"
          : `with arping -c 3 (${arpingMs.toFixed(0)} ms each): ${((silentMs + total * arpingMs) / 1000).toFixed(0)} s`;
      found.push({
        what: `${total} FIPs one by one, extrapolated`,
        unit: "ms",
        samples: [silentMs],
        notes: [words],
      });
    }
    return found;
  },
};

function timeFip(bare: BarePlant, number: number): number {
  const eip = eipAddress(number);
  return timeCommands(bare.gateway, [
    { argv: [script, "eip-add", `${eip}/${eipPrefixLength}`] },
    { argv: [script, "floating-ip-add", eip, fip(number).internalIp] },
  ]);
}

/** Time of three announcements, one per second. `undefined` if the tool is not installed. */
function timeArping({ gateway }: BarePlant): number | undefined {
  const start = performance.now();
  const { error } = within(gateway, () =>
    spawnSync("arping", ["-q", "-c", "3", "-U", "-I", "net1", "203.0.113.254"], {
      stdio: "ignore",
      timeout: 10_000,
    }),
  );
  return error === undefined ? performance.now() - start : undefined;
}
