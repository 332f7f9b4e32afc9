/**
 * Deletes rules of iptables-nft by handle. iptables-nft-restore finds a rule by comparing it with all earlier ones,
 * each in both spellings: 1 to 2 ms for one rule among 10,000. The kernel finds a handle at once, and refuses
 * everything if any process wrote since the positions were read.
 */

import type { ChainRemovals } from "../../../lib/iptables/removals.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import {
  type ChainPlace,
  deleteRule,
  dumpRules,
  type RuleHandle,
  readHandle,
} from "../../../lib/nftables/rule-handles.ts";
import { messageType } from "../../../lib/nftables/wire.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { transact } from "../nftables/transaction.ts";

/**
 * One transaction, only on the ruleset of that generation. A transaction that has begun is finished.
 *
 * @returns false if nothing was changed: another program wrote, or the chains differ from the reading. Throws if the
 * result is unknown.
 */
export async function removeByHandle(
  netlink: ConversingConnection,
  generation: number,
  removals: readonly ChainRemovals[],
  signal: AbortSignal,
): Promise<boolean> {
  const messages = await encodeDeletes(netlink, removals, signal);
  return messages !== undefined && (await transact(netlink, generation, messages)).kind === "done";
}

/** `undefined` if not every rule was found. If the dump never ends, other programs are writing. */
async function encodeDeletes(
  netlink: ConversingConnection,
  removals: readonly ChainRemovals[],
  signal: AbortSignal,
): Promise<readonly NetlinkMessage[] | undefined> {
  const messages: NetlinkMessage[] = [];
  try {
    for (const { table, chain, positions, length } of removals) {
      const { handles, count } = await readHandles(netlink, { table, chain }, positions, signal);
      if (count !== length || handles.length !== positions.size) return undefined;
      for (const handle of handles) messages.push(deleteRule({ table, chain }, handle));
    }
    return messages;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/** The handles at `positions`, and the number of rules in the chain. */
async function readHandles(
  netlink: ConversingConnection,
  place: ChainPlace,
  positions: ReadonlySet<number>,
  signal: AbortSignal,
) {
  let count = 0;
  let handles: RuleHandle[] = [];
  await netlink.dump(
    dumpRules(place),
    (type, view, start, end) => {
      if (type !== messageType.newRule) return;
      const handle = positions.has(count++) ? readHandle(view, start, end) : undefined;
      if (handle !== undefined) handles.push(handle);
    },
    signal,
    () => {
      count = 0;
      handles = [];
    },
  );
  return { handles, count };
}
