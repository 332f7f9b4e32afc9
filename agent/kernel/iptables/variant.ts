/** Chooses between the two iptables variants of a system, once at start. */
import { parseSave, type RuleDump } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { countOwned, holdsObjects } from "../../../lib/plan/iptables/owned.ts";
import type { Ending, Run } from "../run.ts";
import { save, type Variant } from "./tools.ts";

export type VariantChoice =
  | { readonly kind: "chosen"; readonly variant: Variant }
  /** Both variants hold rules of objects, and both translate: nothing may be written until one is cleared. */
  | { readonly kind: "mixed"; readonly message: string };

/**
 * `auto`: the variant whose owned chains hold rules. If neither has any: nft if it works, else legacy. Rules of objects
 * count more than the fixed rules alone, which translates nothing. Reading creates nothing.
 *
 * Throws the tools' error if neither works, and `unreadable` if the content of one is unknown.
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

/** Endings that mean that the variant is not available. After a kill or a hang it may hold anything. */
const answers: readonly unknown[] = ["exited", "not-started"] satisfies readonly Ending[];

/** The dump, or why there is none: a variant that is not installed or not supported by this kernel holds nothing. */
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
