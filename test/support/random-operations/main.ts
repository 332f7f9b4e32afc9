/**
 * Random operations on real gateways, over each dataplane and binding, judged by an oracle of its own: `model.ts`
 * says what is answered and stored, `expectation.ts` what is then in the kernel and Ready. Neither imports anything
 * of the agent.
 *
 * `NATGW_SEED` repeats the choices of a run, but not its timing. `NATGW_OPERATIONS` sets how many each combination gets,
 * `NATGW_RUNS` multiplies them.
 */
import t from "tap";
import { dataplanes } from "../gateway.ts";
import { seed } from "../random.ts";
import { playRandom } from "./play.ts";

const operations = Number(process.env.NATGW_OPERATIONS ?? 60) * Number(process.env.NATGW_RUNS ?? 1);

t.comment(`seed ${seed}`);
for (const [index, [dataplane, binding]] of dataplanes
  .flatMap((one) => [[one, "address"] as const, [one, "route"] as const])
  .entries())
  t.test(`${dataplane}, EIPs bound by ${binding}`, (t) =>
    playRandom(t, dataplane, binding, seed + index, operations),
  );
