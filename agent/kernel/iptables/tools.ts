/** iptables-save and iptables-restore of one variant, and what their refusals mean. */
import type { Transaction } from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { firstLines, type Run } from "../run.ts";

export type Variant = "nft" | "legacy";

/** Why a transaction was not applied; nothing of it was. */
export interface Refusal {
  readonly error: GatewayError;
  /**
   * `raced`: the tool lost a race, and the same transaction may pass a moment later. `busy`: another program holds the lock, and
   * nobody knows for how long.
   */
  readonly kind: "refused" | "raced" | "busy";
}

/**
 * A restore waits that long for the lock of /run/xtables.lock, which only the legacy variant takes: longer than a tool holds it for
 * a change, and short enough that addresses and routes, which are written after rules, do not wait for who forgot it.
 */
const lockSeconds = 1;
/** A deadline is for a tool that hangs, not for one that has much to do: a line takes up to 0.3 ms on a busy machine. */
const restoreTimeoutMs = 60_000;
const lineTimeoutMs = 1;
/** 1: a line was refused; 2: a line was not understood; 3: another version; 4: the kernel refused, or no lock. */
const restoreExitCodes = [0, 1, 2, 3, 4] as const;

/** All tables that the variant has in the kernel, by one process that creates none. `-t` would create the legacy one. */
export async function save(variant: Variant, family: Family, run: Run, signal: AbortSignal): Promise<string> {
  return (await run([`${family.iptables}-${variant}-save`], { signal })).stdout;
}

/** One chain, as `-S` lists it. With legacy that costs as much as all of the table. */
export async function listChain(
  variant: Variant,
  { table, chain }: { readonly table: TableName; readonly chain: string },
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<string> {
  return (await run([`${family.iptables}-${variant}`, "-t", table, "-S", chain], { signal })).stdout;
}

/** Applies a transaction. It is not given a signal: once begun it is finished. @returns `undefined` where it was applied */
export async function restore(
  variant: Variant,
  { table, input }: Transaction,
  family: Family,
  run: Run,
): Promise<Refusal | undefined> {
  const command = `${family.iptables}-${variant}-restore`;
  const lines = input.split("\n");
  const { exitCode, stderr } = await run([command, "--noflush", "--wait", String(lockSeconds)], {
    stdin: input,
    exitCodes: restoreExitCodes,
    timeoutMs: restoreTimeoutMs + lines.length * lineTimeoutMs,
  });
  if (exitCode === 0) return undefined;
  const words = firstLines(stderr);
  const number = Number(/\bline:? ([0-9]+)/.exec(stderr)?.[1] ?? 0);
  const isLock = /xtables lock|Resource temporarily unavailable/.test(stderr);
  // Line 1 names the table: that nobody's rule is to blame for.
  if (isLock || number < 2) {
    const message = `${command} exited with ${exitCode}: ${words}`;
    return {
      error: failed("command-failed", message, { command, exitCode, table }),
      kind: isLock ? "busy" : "refused",
    };
  }
  const line = lines[number - 1] ?? "";
  const message = `the kernel refused table ${table}: ${words}${line === "COMMIT" ? "" : `: ${line}`}`;
  // The legacy kernel interface replaces whole tables and says only that COMMIT failed: a bad rule, or a writer
  // that came between without the lock.
  const isRace = variant === "legacy" && line === "COMMIT";
  const error = failed("rules-refused", message, { command, exitCode, table, line });
  return { error, kind: isRace ? "raced" : "refused" };
}

/** Another writer was there between reading and writing. */
export function lostRace(table: TableName): Refusal {
  const message = `table ${table} was written by another meanwhile`;
  return { error: failed("command-failed", message, { table }), kind: "raced" };
}

function failed(
  code: "command-failed" | "rules-refused",
  message: string,
  details: Readonly<Record<string, unknown>>,
): GatewayError {
  return new GatewayError(code, message, { details });
}
