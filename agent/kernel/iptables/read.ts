/** Reads rules with the tools, next to an earlier reading: unchanged parts keep their identity. */
import type { EditedChain } from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { parseChain, parseTable, type RuleDump, splitSave } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { Run } from "../run.ts";
import { listChain, save, type Variant } from "./tools.ts";

/** A dump that ends between two tables looks complete: a missing table is believed only after a second dump. */
export async function readAll(
  earlier: RuleDump,
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
    (isWhole ? tables : await read()).map((one) => [
      one.table,
      parseTable(one, family, earlier.get(one.table)),
    ]),
  );
}

/** @returns `before` with the current content of those chains; a listing does not show whether it is complete */
export async function readChains(
  chains: readonly EditedChain[],
  before: RuleDump,
  variant: Variant,
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<RuleDump> {
  if (chains.length === 0) return before;
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

/** If reading a part fails, a full reading gives a better error. */
export async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return undefined;
  }
}
