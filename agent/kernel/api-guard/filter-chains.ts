/** Puts the chains that keep the API's ports closed into the filter table of iptables-legacy, before any pass runs. */
import { jumpTo } from "../../../lib/iptables/rule.ts";
import { parseSave } from "../../../lib/iptables/save.ts";
import type { ApiGuard } from "../../../lib/model/api-guard.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { parseIp } from "../../../lib/model/families.ts";
import type { Family } from "../../../lib/model/family.ts";
import { apiChains, apiChainsInput } from "../../../lib/plan/iptables/filter.ts";
import { restore, save } from "../iptables/tools.ts";
import type { Run } from "../run.ts";

/** @throws if they could not be read or written, or cannot guard a listener */
export async function ensureApiChains(
  guard: ApiGuard,
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<void> {
  const other = guard.open.find(({ address }) => parseIp(address) === undefined);
  if (other !== undefined)
    throw new GatewayError(
      "rules-refused",
      `without nf_tables nothing guards a listener on ${other.address}`,
    );
  const rules = parseSave(await save("legacy", family, run, signal), family, ["filter"]).get("filter");
  const input = rules?.get("INPUT") ?? [];
  const { first, second } = apiChains(guard);
  const isThere = [first, second].every((chain) => {
    const held = rules?.get(chain.name)?.map(({ text }) => text);
    return held?.join("\n") === chain.rules.map(({ rule }) => rule.text).join("\n");
  });
  // A rule of another program before it could accept what it drops.
  const isHooked = input[0]?.text === jumpTo(first.name).text;
  if (isThere && isHooked) return;
  const refusal = await restore(
    "legacy",
    { table: "filter", input: apiChainsInput(guard, input) },
    family,
    run,
  );
  if (refusal !== undefined) throw refusal.error;
}
