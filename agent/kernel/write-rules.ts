/** Writes a plan of rules. Where another writer came between, the kernel is read and planned for anew. */
import { setTimeout as delay } from "node:timers/promises";
import { GatewayError } from "../../lib/model/errors.ts";
import type { RulesPlan } from "../../lib/plan/rules-planner.ts";
import type { Dataplane, RulesDriver } from "./drivers.ts";

/** Before each further attempt. The tools of iptables wait for no generation: a busy writer needs time to end. */
const retryDelaysMs = {
  nftables: [0, 0, 0, 0],
  "iptables-nft": [20, 60, 180],
  "iptables-legacy": [20, 60, 180],
} as const satisfies Record<RulesDriver["backend"], readonly number[]>;

/**
 * A refusal that a new plan does not explain is thrown, and so is a race that is lost each time.
 *
 * @param replan `undefined` where what was planned, a part of a program, cannot be planned anew
 */
export async function writeRules<Observed, Payload>(
  { driver, planner }: Dataplane<Observed, Payload>,
  planned: RulesPlan<Payload>,
  replan: ((observed: Observed) => RulesPlan<Payload>) | undefined,
  signal: AbortSignal,
): Promise<void> {
  let { payload } = planned;
  for (let attempt = 1; ; attempt++) {
    const outcome = await driver.write(payload, signal, attempt > 1);
    if (outcome.kind === "done") return;
    const { error } = outcome;
    const delayMs = retryDelaysMs[driver.backend][attempt - 1];
    const refused = outcome.kind === "refused" ? outcome.transaction : undefined;
    const isFinal = outcome.kind === "refused" && refused === undefined;
    if (replan === undefined || isFinal) throw error;
    if (delayMs === undefined) throw lostEachTime(error, attempt);
    if (delayMs > 0) await delay(delayMs, undefined, { signal });
    ({ payload } = replan(await driver.observe(signal)));
    if (refused !== undefined && planner.includes(payload, refused)) throw error;
  }
}

function lostEachTime(cause: GatewayError, attempts: number): GatewayError {
  const { code, message, details } = cause;
  return new GatewayError(code, `${message}, ${attempts} times`, { cause, details });
}
