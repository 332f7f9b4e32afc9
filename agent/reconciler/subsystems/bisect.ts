/**
 * Finds the objects that the kernel rejects in a transaction that it refused, so that they do not block
 * others.
 *
 * Objects are tried in groups, and a refused group is halved until a refusal concerns one object. With k rejected
 * objects among n this takes about k·log2(n) transactions. What a successful one wrote stays.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { ObjectId } from "../../../lib/model/names.ts";

/**
 * Plans and applies everything except `without`.
 * @returns the kernel's error text if it refused, `undefined` on success
 */
export type Attempt = (without: ReadonlySet<ObjectId>) => Promise<string | undefined>;

/** Maximum transactions per search. After that, untried and rejected objects wait for the next pass. */
const maxAttempts = 256;

/**
 * @param candidates the objects that the refused transaction would have written
 * @param firstError the kernel's error text for all of them together
 * @returns the rejected objects, each with the kernel's error text. Throws `rules-refused` if the kernel
 * refuses even without any of them.
 */
export async function bisect(
  candidates: readonly ObjectId[],
  firstError: string,
  attempt: Attempt,
): Promise<ReadonlyMap<ObjectId, string>> {
  const without = new Set(candidates);
  if (candidates.length === 0 || (await attempt(without)) !== undefined) {
    throw new GatewayError("rules-refused", firstError);
  }
  const rejected = new Map<ObjectId, string>();
  let attempts = 1;

  const admit = async (group: readonly ObjectId[]): Promise<void> => {
    if (++attempts > maxAttempts) {
      for (const id of group)
        rejected.set(id, `not tried: too many other objects were refused, last error: ${firstError}`);
      return;
    }
    for (const id of group) without.delete(id);
    const errorText = await attempt(without);
    if (errorText === undefined) return;
    for (const id of group) without.add(id);
    const [only] = group;
    if (group.length === 1 && only !== undefined) rejected.set(only, errorText);
    else await admitHalves(group);
  };

  const admitHalves = async (group: readonly ObjectId[]): Promise<void> => {
    const middle = group.length >> 1;
    for (const half of [group.slice(0, middle), group.slice(middle)]) if (half.length > 0) await admit(half);
  };

  if (candidates.length === 1) await admit(candidates);
  else await admitHalves(candidates);
  return rejected;
}
