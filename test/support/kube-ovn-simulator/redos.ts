/** Interleavings of one combination, one after the other on one gateway, each in a new pod. */
import type { Test } from "tap";
import { WireWatch } from "../../faults/wire-watch.ts";
import { type DataplaneName, Gateway } from "../gateway.ts";
import { labAddresses } from "../lab.ts";
import type { CallingForm } from "../nat-gateway.ts";
import { randomFrom } from "../random.ts";
import { Player } from "./player.ts";
import { type Pod, scenarioOf } from "./scenario.ts";

export interface Combination {
  readonly dataplane: DataplaneName;
  readonly form: CallingForm;
  readonly pod: Pod;
}

/** In the report of a violation. */
const shownCalls = 60;

/** Between the seeds of two interleavings, so that no two rounds of a soak play the same one. */
const seedStep = 100_000;

/** @param seed of the first */
export async function playRedos(
  t: Test,
  { dataplane, form, pod }: Combination,
  seed: number,
  count: number,
): Promise<void> {
  const gw = await Gateway.make(t, dataplane, {}, { isSilent: true });
  // Behind the VPC's router are some of the clients.
  await gw.lab.ip("pod2", `address add ${labAddresses.vpcRouter}/32 dev eth0`);
  const wire = new WireWatch(gw.lab);
  await wire.start();
  let calls = 0;
  let disturbances = 0;
  for (let one = seed; one < seed + count * seedStep; one += seedStep) {
    const random = randomFrom(one);
    const scenario = scenarioOf(random, pod, form);
    const player = new Player(gw, wire, scenario, random);
    try {
      await player.play();
      t.pass(`interleaving ${one}`);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      t.fail(`interleaving ${one}: ${what.split("\n")[0]}`, {
        report: [what, ...player.history.slice(-shownCalls)].join("\n"),
      });
      t.comment(gw.agent.log.slice(-2_000));
      await wire.forget();
    }
    calls += player.history.length;
    disturbances += scenario.disturbances.length;
  }
  t.comment(
    `${dataplane}, ${form}, ${pod}: ${count} interleavings from seed ${seed}, ${calls} calls, ${disturbances} disturbances, ${await wire.translated()} packets left translated`,
  );
}
