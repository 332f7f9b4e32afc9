/** Chooses between the two iptables that a system may have, once at the start. */
import { parseSave, type RuleDump } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { countOwned, holdsObjects } from "../../../lib/plan/iptables/owned.ts";
import type { Ending, Run } from "../run.ts";
import { save, type Variant } from "./tools.ts";

export type VariantChoice =
  | { readonly kind: "chosen"; readonly variant: Variant }
  /** Both hold objects' rules, and both translate: nothing may be written until one is cleared. */
  | { readonly kind: "mixed"; readonly message: string };

/**
 * `auto`: the variant whose owned chains hold rules; where neither does, nft where it works, else legacy. Objects'
 * rules count more than the bare frame, which translates nothing. Looking creates nothing.
 *
 * Throws what the tools threw where neither works, and `unreadable` where what one holds cannot be told.
 */
export async function chooseVariant(
  run: Run,
  setting: "auto" | Variant,
  family: Family,
  signal: AbortSignal,
): Promise<VariantChoice> {
  if (setting !== "auto") return { kind: "chosen", variant: setting };
  const [nft, legacy] = await Promise.all([
    look("nft", family, run, signal),
    look("legacy", family, run, signal),
  ]);
  if (nft instanceof GatewayError && legacy instanceof GatewayError) throw nft;
  if (nft instanceof GatewayError) return { kind: "chosen", variant: "legacy" };
  if (legacy instanceof GatewayError) return { kind: "chosen", variant: "nft" };
  if (holdsObjects(nft) && holdsObjects(legacy)) {
    const counts = `${countOwned(nft)} in nft, ${countOwned(legacy)} in legacy`;
    return { kind: "mixed", message: `both iptables variants hold owned rules: ${counts}` };
  }
  const isLegacy = weight(legacy) > weight(nft);
  return { kind: "chosen", variant: isLegacy ? "legacy" : "nft" };
}

/** Endings that say the variant is not there; one that was killed or hung may hold anything. */
const answers: readonly unknown[] = ["exited", "not-started"] satisfies readonly Ending[];

/** The dump, or why there is none: a variant that is not installed or that this kernel lacks holds nothing. */
async function look(
  variant: Variant,
  family: Family,
  run: Run,
  signal: AbortSignal,
): Promise<RuleDump | GatewayError> {
  let dump: string;
  try {
    dump = await save(variant, family, run, signal);
  } catch (error) {
    if (error instanceof GatewayError && answers.includes(error.details.ending)) return error;
    throw error;
  }
  return parseSave(dump, family, ["nat"]);
}

function weight(dump: RuleDump): number {
  if (holdsObjects(dump)) return 2;
  return countOwned(dump) > 0 ? 1 : 0;
}
