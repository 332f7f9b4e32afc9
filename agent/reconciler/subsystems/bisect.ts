/**
 * Finds the objects at fault in a transaction that the kernel refused, so that one bad object never holds up another.
 *
 * Objects are admitted group by group, and a refused group is halved until a refusal concerns one object. With k objects at fault
 * among n that takes about k·log2(n) transactions; what a successful one wrote stays.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { ObjectId } from "../../../lib/model/names.ts";

/** Plans and applies everything but `without`. @returns the kernel's words where it refused, `undefined` where it is done */
export type Attempt = (without: ReadonlySet<ObjectId>) => Promise<string | undefined>;

/** Transactions that one search may cost; when it is spent, the untried wait for the next pass beside the culprits. */
const maxAttempts = 256;

/**
 * @param candidates the objects that the refused transaction was to write
 * @param refusal the kernel's words on all of them together
 * @returns the culprits, each with the kernel's words on it. Throws `rules-refused` where it refuses even without any of them.
 */
export async function bisect(
  candidates: readonly ObjectId[],
  refusal: string,
  attempt: Attempt,
): Promise<ReadonlyMap<ObjectId, string>> {
  const without = new Set(candidates);
  if (candidates.length === 0 || (await attempt(without)) !== undefined) {
    throw new GatewayError("rules-refused", refusal);
  }
  const culprits = new Map<ObjectId, string>();
  let attempts = 1;

  const admit = async (group: readonly ObjectId[]): Promise<void> => {
    if (++attempts > maxAttempts) {
      for (const id of group)
        culprits.set(id, `not tried: too many others were refused, the last with: ${refusal}`);
      return;
    }
    for (const id of group) without.delete(id);
    const words = await attempt(without);
    if (words === undefined) return;
    for (const id of group) without.add(id);
    const [only] = group;
    if (group.length === 1 && only !== undefined) culprits.set(only, words);
    else await admitHalves(group);
  };

  const admitHalves = async (group: readonly ObjectId[]): Promise<void> => {
    const middle = group.length >> 1;
    for (const half of [group.slice(0, middle), group.slice(middle)]) if (half.length > 0) await admit(half);
  };

  if (candidates.length === 1) await admit(candidates);
  else await admitHalves(candidates);
  return culprits;
}
