/** Writes rules. If another program wrote in between, reads and plans again. */
import { setTimeout as delay } from "node:timers/promises";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Dataplane } from "../../kernel/drivers.ts";

/**
 * Throws at once if another program holds the lock, and if a new plan gets the same refusal. Throws after losing the
 * race in every attempt.
 *
 * @param replan reads the rules and plans again; `undefined` means that nothing is left to do. Absent: only one attempt
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
    const delayMs = driver.retryDelaysMs[attempt - 1];
    const refused = outcome.kind === "refused" ? outcome.transaction : undefined;
    if (replan === undefined || (outcome.kind === "refused" && refused === undefined)) throw error;
    if (delayMs === undefined) throw lostEveryRace(error, attempt);
    if (delayMs > 0) await delay(delayMs, undefined, { signal });
    const next = await replan();
    if (next === undefined) return;
    payload = next;
    if (refused !== undefined && planner.includes(payload, refused)) throw error;
  }
}

function lostEveryRace(cause: GatewayError, attempts: number): GatewayError {
  const { code, message, details } = cause;
  return new GatewayError(code, `${message}, ${attempts} times`, { cause, details });
}
