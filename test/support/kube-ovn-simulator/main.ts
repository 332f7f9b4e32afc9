/**
 * The redo of Kube-OVN's controller after a new pod, in random interleavings, with the real `nat-gateway.sh` and agent:
 * `scenario.ts` chooses the calls and what disturbs them, `reference.ts` says what the kernel holds then. Then the state
 * is lost: the agent imports it without a write.
 *
 * `NATGW_SEED` repeats the choices of a run, but not its timing. `NATGW_CASES` is the number of interleavings in all.
 */
import t from "tap";
import { dataplanes } from "../gateway.ts";
import { callingForms } from "../nat-gateway.ts";
import { seed } from "../random.ts";
import { playRedos } from "./redos.ts";
import { pods } from "./scenario.ts";

const combinations = dataplanes.flatMap((dataplane) =>
  callingForms.flatMap((form) => pods.map((pod) => ({ dataplane, form, pod }))),
);
const cases = Number(process.env.NATGW_CASES ?? combinations.length);

t.comment(`seed ${seed}, ${cases} interleavings`);
// Most of the time of an interleaving is the gate's five seconds.
t.jobs = Number(process.env.NATGW_JOBS ?? 5);
for (const [index, one] of combinations.entries()) {
  const count = Math.floor((cases + combinations.length - 1 - index) / combinations.length);
  if (count === 0) continue;
  t.test(Object.values(one).join(", "), { buffered: true }, async (t) => {
    await playRedos(t, one, seed + index * 1_000, count);
  });
}
