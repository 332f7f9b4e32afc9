/** Random operations on a real gateway with one dataplane and binding. */
import type { Test } from "tap";
import { type DataplaneName, Gateway } from "../gateway.ts";
import { randomFrom } from "../random.ts";
import type { Binding } from "./expectation.ts";
import { Player } from "./player.ts";

const perCheck = 25;
/** A remark that it goes on. */
const perRemark = 250;
/** In the report of a violation. */
const shownOperations = 30;

export async function playRandom(
  t: Test,
  dataplane: DataplaneName,
  binding: Binding,
  seed: number,
  operations: number,
): Promise<void> {
  const gw = await Gateway.make(t, dataplane, { NATGW_EIP_BINDING: binding }, { isSilent: true });
  const player = new Player(gw, binding, randomFrom(seed));
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
      if ((played + 1) % perRemark === 0)
        t.comment(`${dataplane}, ${binding}: ${played + 1} operations so far`);
    }
    await player.check();
    t.pass(`${played} operations without a violation`);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    t.fail(`operation ${played + 1}, seed ${seed}: ${what.split("\n")[0]}`, {
      report: [`seed ${seed}`, ...history.slice(-shownOperations), what].join("\n"),
    });
    t.comment(gw.agent.log.slice(-2_000));
  }
  t.comment(`${dataplane}, ${binding}: ${played} operations: ${player.counts}`);
}
