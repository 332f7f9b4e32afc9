/** iptables-save and iptables-restore of one variant, and the meaning of their errors. */
import type { Transaction } from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { firstLines, type Run } from "../run.ts";

export type Variant = "nft" | "legacy";

/** Why a transaction was not applied. Nothing of it was applied. */
export interface Refusal {
  readonly error: GatewayError;
  /**
   * `raced`: the tool lost a race; the same transaction may succeed soon. `busy`: another program holds the lock for an
   * unknown time.
   */
  readonly kind: "refused" | "raced" | "busy";
}

/**
 * How long a restore waits for /run/xtables.lock, which only the legacy variant uses. Longer than a tool holds it for a
 * change, and short enough that addresses and routes, which are written after rules, do not wait for a process that
 * keeps it.
 */
const lockSeconds = 1;
/** The deadline is for a tool that hangs, not for one with much work: a line takes up to 0.3 ms on a busy machine. */
const restoreTimeoutMs = 60_000;
const lineTimeoutMs = 1;
/** 1: a line was refused; 2: a line was not understood; 3: version mismatch; 4: the kernel refused, or no lock. */
const restoreExitCodes = [0, 1, 2, 3, 4] as const;

/**
 * All tables of the variant in the kernel, with one process and without creating any. `-t` would create the legacy
 * table.
 */
export async function save(variant: Variant, family: Family, run: Run, signal: AbortSignal): Promise<string> {
  return (await run([`${family.iptables}-${variant}-save`], { signal })).stdout;
}

/** One chain in the format of `-S`. With legacy this costs as much as the whole table. */
export async function listChain(
  variant: Variant,
  { table, chain }: { readonly table: TableName; readonly chain: string },
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<string> {
  return (await run([`${family.iptables}-${variant}`, "-t", table, "-S", chain], { signal })).stdout;
}

/**
 * Applies a transaction. Takes no signal: a transaction that has begun is finished.
 * @returns `undefined` if it was applied
 */
export async function restore(
  variant: Variant,
  { table, input }: Transaction,
  family: Family,
  run: Run,
): Promise<Refusal | undefined> {
  const command = `${family.iptables}-${variant}-restore`;
  const { exitCode, stderr } = await run([command, "--noflush", "--wait", String(lockSeconds)], {
    stdin: input,
    exitCodes: restoreExitCodes,
    timeoutMs: restoreTimeoutMs + countLines(input) * lineTimeoutMs,
  });
  if (exitCode === 0) return undefined;
  const words = firstLines(stderr);
  const number = Number(/\bline:? ([0-9]+)/.exec(stderr)?.[1] ?? 0);
  const isLock = /xtables lock|Resource temporarily unavailable/.test(stderr);
  // Line 1 names the table: no rule caused this error.
  if (isLock || number < 2) {
    const message = `${command} exited with ${exitCode}: ${words}`;
    return {
      error: failed("command-failed", message, { command, exitCode, table }),
      kind: isLock ? "busy" : "refused",
    };
  }
  const line = input.split("\n", number)[number - 1] ?? "";
  const message = `the kernel refused table ${table}: ${words}${line === "COMMIT" ? "" : `: ${line}`}`;
  // The legacy kernel interface replaces whole tables and reports only that COMMIT failed: because of a bad rule, or
  // because another program wrote without the lock.
  const isRace = variant === "legacy" && line === "COMMIT";
  const error = failed("rules-refused", message, { command, exitCode, table, line });
  return { error, kind: isRace ? "raced" : "refused" };
}

/** Splitting the text of 100,000 rules takes too long. */
function countLines(text: string): number {
  let count = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count++;
  return count;
}

/** Another program wrote between reading and writing. */
export function lostRace(table: TableName): Refusal {
  const message = `another program wrote table ${table} in the meantime`;
  return { error: failed("command-failed", message, { table }), kind: "raced" };
}

function failed(
  code: "command-failed" | "rules-refused",
  message: string,
  details: Readonly<Record<string, unknown>>,
): GatewayError {
  return new GatewayError(code, message, { details });
}
