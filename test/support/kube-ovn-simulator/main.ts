/**
 * The redo of Kube-OVN's controller after a new pod, in random interleavings, with the real `nat-gateway.sh` and agent:
 * `scenario.ts` chooses the calls and what disturbs them, `reference.ts` says what the kernel holds then. Then the state
 * is lost: the agent imports it without a write.
 *
 * `NATGW_SEED` repeats the choices of a run, but not its timing. `NATGW_OPERATIONS` sets how many interleavings each
 * combination gets, `NATGW_RUNS` multiplies them.
 */
import t from "tap";
import { callingForms } from "../nat-gateway.ts";
import { seed } from "../random.ts";
import { playRedos } from "./redos.ts";
import { pods } from "./scenario.ts";

const interleavings = Number(process.env.NATGW_OPERATIONS ?? 1) * Number(process.env.NATGW_RUNS ?? 1);

t.comment(`seed ${seed}`);
// Most of the time of an interleaving is the gate's five seconds.
t.jobs = 5;
for (const [index, [variant, form, pod]] of (["iptables-nft", "iptables-legacy"] as const)
  .flatMap((variant) => callingForms.flatMap((form) => pods.map((pod) => [variant, form, pod] as const)))
  .entries()) {
  t.test(`${variant}, ${form}, ${pod}`, { buffered: true }, async (t) => {
    await playRedos(t, { variant, form, pod }, seed + index * 1_000, interleavings);
  });
}
