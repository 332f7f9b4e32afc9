/** Reads rules by the tools, alongside an earlier reading: what is written as it was then is the same value. */
import type { EditedChain } from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { parseChain, parseTable, type RuleDump, splitSave } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { Run } from "../run.ts";
import { listChain, save, type Variant } from "./tools.ts";

/** A dump that was cut short between two tables looks whole: that a table is not there is believed at the second look. */
export async function readAll(
  near: RuleDump,
  variant: Variant,
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<RuleDump> {
  const needed: readonly TableName[] = variant === "nft" ? ["nat", "mangle"] : ["nat", "mangle", "filter"];
  const read = async () => splitSave(await save(variant, family, run, signal), needed);
  const tables = await read();
  const isWhole = needed.every((name) => tables.some(({ table }) => table === name));
  return new Map(
    (isWhole ? tables : await read()).map((one) => [one.table, parseTable(one, family, near.get(one.table))]),
  );
}

/** @returns `before` with those chains as they are now; that a listing is whole, it does not tell */
export async function readChains(
  chains: readonly EditedChain[],
  before: RuleDump,
  variant: Variant,
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<RuleDump> {
  const rules = new Map(before);
  await Promise.all(
    chains.map(async ({ table, chain }) => {
      const text = await listChain(variant, { table, chain }, family, run, signal);
      const known = rules.get(table);
      rules.set(table, new Map(known).set(chain, parseChain(chain, text, family, known?.get(chain))));
    }),
  );
  return rules;
}

/** What a part cannot be read for, a reading of all says in better words. */
export async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return undefined;
  }
}
