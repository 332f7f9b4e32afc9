/** Writes rules. Where another writer came between, they are read and planned again. */
import { setTimeout as delay } from "node:timers/promises";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Dataplane, RulesDriver } from "../../kernel/drivers.ts";

/** Before each further attempt. The tools of iptables wait for no generation: a busy writer needs time to end. */
const retryDelaysMs = {
  nftables: [0, 0, 0, 0],
  "iptables-nft": [20, 60, 180],
  "iptables-legacy": [20, 60, 180],
} as const satisfies Record<RulesDriver["backend"], readonly number[]>;

/**
 * Throws at once where another program holds the lock, and a refusal that a new plan repeats, and a race that is lost each time.
 *
 * @param replan reads the rules and plans them again; nothing is left to do where it gives `undefined`. Absent: written once
 */
export async function writeRules<Observed, Payload>(
  { driver, planner }: Dataplane<Observed, Payload>,
  planned: Payload,
  replan: (() => Promise<Payload | undefined>) | undefined,
  signal: AbortSignal,
): Promise<void> {
  let payload = planned;
  for (let attempt = 1; ; attempt++) {
    const outcome = await driver.write(payload, signal, attempt > 1);
    if (outcome.kind === "done") return;
    const { error } = outcome;
    if (outcome.kind === "busy") throw error;
    const delayMs = retryDelaysMs[driver.backend][attempt - 1];
    const refused = outcome.kind === "refused" ? outcome.transaction : undefined;
    if (replan === undefined || (outcome.kind === "refused" && refused === undefined)) throw error;
    if (delayMs === undefined) throw lostEachTime(error, attempt);
    if (delayMs > 0) await delay(delayMs, undefined, { signal });
    const next = await replan();
    if (next === undefined) return;
    payload = next;
    if (refused !== undefined && planner.includes(payload, refused)) throw error;
  }
}

function lostEachTime(cause: GatewayError, attempts: number): GatewayError {
  const { code, message, details } = cause;
  return new GatewayError(code, `${message}, ${attempts} times`, { cause, details });
}
