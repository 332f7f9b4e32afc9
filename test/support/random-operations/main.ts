/**
 * Random operations on real gateways, over each dataplane and binding, judged by an oracle of its own: `model.ts`
 * says what is answered and stored, `expectation.ts` what is then in the kernel and Ready. Neither imports anything
 * of the agent.
 *
 * `NATGW_SEED` repeats the choices of a run, but not its timing. `NATGW_OPERATIONS` sets how many each combination gets,
 * `NATGW_RUNS` multiplies them.
 */
import t from "tap";
import { dataplanes, Gateway } from "../gateway.ts";
import { randomFrom, seed } from "../random.ts";
import { Player } from "./player.ts";

const operations = Number(process.env.NATGW_OPERATIONS ?? 60) * Number(process.env.NATGW_RUNS ?? 1);
const perCheck = 25;
/** In the report of a violation. */
const shownOperations = 30;

t.comment(`seed ${seed}`);
for (const [index, [dataplane, binding]] of dataplanes
  .flatMap((one) => [[one, "address"] as const, [one, "route"] as const])
  .entries()) {
  t.test(`${dataplane}, EIPs bound by ${binding}`, async (t) => {
    const gw = await Gateway.make(t, dataplane, { NATGW_EIP_BINDING: binding }, { isSilent: true });
    const player = new Player(gw, binding, randomFrom(seed + index));
    const history: string[] = [];
    let played = 0;
    try {
      await player.begin();
      for (; played < operations; played++) {
        const operation = player.next();
        history.push(JSON.stringify(operation));
        const remark = await player.play(operation);
        if (remark !== "") history.push(`    ${remark}`);
        if ((played + 1) % perCheck === 0) {
          await player.check();
          history.push("    all as expected");
        }
      }
      await player.check();
      t.pass(`${played} operations without a violation`);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      t.fail(`operation ${played + 1}, seed ${seed}: ${what.split("\n")[0]}`, {
        report: [`NATGW_SEED=${seed}`, ...history.slice(-shownOperations), what].join("\n"),
      });
      t.comment(gw.agent.log.slice(-2_000));
    }
    t.comment(`${dataplane}, ${binding}: ${played} operations: ${player.counts}`);
  });
}
