/** The meaning of the kernel's answer to a transaction, as text. */
import { GatewayError } from "../../../lib/model/errors.ts";
import { isElementMessage, keyAt } from "../../../lib/nftables/encode-elements.ts";
import { tableLabel } from "../../../lib/nftables/family.ts";
import { tableName } from "../../../lib/nftables/maps.ts";
import { isGuardSet } from "../../../lib/nftables/sets.ts";
import type { Outcome } from "./transaction.ts";

/** `rules-refused` if a message of the transaction is at fault. */
export function refusalError(
  { error, fault }: Extract<Outcome, { kind: "refused" }>,
  table = `table ${tableLabel(tableName)}`,
): GatewayError {
  const words = `${error.code}: ${error.message}`;
  const details = { code: error.code, errno: error.errno };
  // A refusal of no specific message is not about rules: a missing capability, no memory.
  if (fault === undefined)
    return new GatewayError("netlink-failed", `nftables transaction: ${words}`, { details });
  const { message, offset } = fault;
  const [only] = isElementMessage(message) && message.keys.length === 1 ? message.keys : [];
  const what = isElementMessage(message)
    ? `an element of ${isGuardSet(message.map) ? "set" : "map"} ${message.map}: ${(offset && keyAt(message, offset)) ?? only ?? "unknown key"}`
    : table;
  return new GatewayError("rules-refused", `the kernel refused ${what}: ${words}`, { details });
}

/** Another program wrote between reading and writing. */
export function staleError(): GatewayError {
  return new GatewayError("netlink-failed", "another program changed the ruleset before the commit");
}

/** Names guard and gates in the text of an error. */
export const guardOrGate = "guard or gate";

/**
 * What became of a step, for those who keep readings. A refusal is final, since nobody else wrote meanwhile.
 * @param what the table that was written, for the error's text
 */
export function stepResult<Step>(step: Step, outcome: Outcome, what: string) {
  if (outcome.kind === "done") return { written: step };
  const error = outcome.kind === "stale" ? staleError() : refusalError(outcome, what);
  const kind = outcome.kind === "stale" ? "raced" : "refused";
  return { failure: { kind, error }, isReadingValid: false } as const;
}
