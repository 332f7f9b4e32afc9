/** Every rate that the API takes gives parameters that the kernel takes, and gives back as they were. */
import t from "tap";
import { limitOfPolicer, policeLimit, queueBytes } from "../../../../../lib/plan/qos/rates.ts";

const maxU32 = 0xffffffff;
/** 1 kbit/s to 1 Tbit/s. */
const rates = [125, 41_667, 2_000_000, 18_375_000_000, 18_750_000_000, 86_000_000_000, 125_000_000_000];
const bursts = [undefined, 1_049, 4_095 * 2 ** 20];

t.test("the size of a queue has 32 bits", async (t) => {
  for (const rate of rates) t.ok(queueBytes({ rate }) <= maxU32, `${rate}`);
  t.equal(queueBytes({ rate: 2_000_000 }), 100_000);
});

t.test("the kernel computes what a policer may let pass in 64 bits, in nanoseconds", async (t) => {
  for (const rate of rates)
    for (const burst of bursts) {
      const limit = policeLimit({ rate, ...(burst !== undefined && { burst }) });
      t.ok(limit.burst <= maxU32);
      t.ok(BigInt(limit.rate + limit.burst) * 1_000_000_000n < 1n << 64n, `${rate} ${burst}`);
      t.strictSame(policeLimit(limitOfPolicer(limit)), limit, "an import changes nothing");
    }
  t.equal(policeLimit({ rate: 15_000_000_000 }).rate, 15_000_000_000);
});
