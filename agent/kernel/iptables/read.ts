/** Reads rules with the tools, next to an earlier reading: unchanged parts keep their identity. */
import type { EditedChain } from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import {
  parseChainChunked,
  parseTableChunked,
  type RuleDump,
  splitSave,
  type TableRules,
} from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { runYielding } from "../../run-yielding.ts";
import type { Run } from "../run.ts";
import { listChain, save, type Variant } from "./tools.ts";

/**
 * A dump that ends between two tables looks complete. If a table is missing that was there in the earlier reading, or if
 * there is none, a second dump decides.
 */
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
  const awaited = earlier.size === 0 ? needed : needed.filter((name) => earlier.has(name));
  const isWhole = awaited.every((name) => tables.some(({ table }) => table === name));
  const dump = new Map<TableName, TableRules>();
  for (const one of isWhole ? tables : await read())
    dump.set(one.table, await runYielding(parseTableChunked(one, family, earlier.get(one.table))));
  return dump;
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
      const known = before.get(table)?.get(chain);
      const parsed = await runYielding(parseChainChunked(chain, text, family, known));
      rules.set(table, new Map(rules.get(table)).set(chain, parsed));
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
