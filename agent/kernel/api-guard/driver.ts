/** Keeps the API's ports closed: reads and writes the table, or without nf_tables the chains of the filter table. */
import { setTimeout as delay } from "node:timers/promises";
import { stabilize } from "../../../lib/memoize.ts";
import type { ApiGuard } from "../../../lib/model/api-guard.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { apiCounter, apiTable, encodeApiTable } from "../../../lib/nftables/api-guard.ts";
import {
  type DefinitionLines,
  DefinitionReader,
  isSameDefinition,
} from "../../../lib/nftables/definition-lines.ts";
import type { DropCounts } from "../../../lib/nftables/filter-tables.ts";
import { inetNumber, inFamily } from "../../../lib/nftables/wire.ts";
import { type ApiGuardObserved, planApiTable } from "../../../lib/plan/api-guard/planner.ts";
import type { ApiGuardDriver } from "../drivers.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { KeptReading } from "../nftables/kept-reading.ts";
import { OwnCommits } from "../nftables/own-commits.ts";
import { allChains, allTables, contentsOf, forget, orUndefinedWhereGone } from "../nftables/read.ts";
import { readDropsOf } from "../nftables/read-drops.ts";
import { refusalError, staleError } from "../nftables/refusal.ts";
import { hasNftables, readGeneration, transact } from "../nftables/transaction.ts";

export interface ApiGuardDriverOptions {
  readonly netlink: ConversingConnection;
  readonly guard: ApiGuard;
  /** Puts the chains of the filter table in place, where the kernel has no nf_tables. */
  readonly ensureChains: (signal: AbortSignal) => Promise<void>;
}

const timeoutMs = 10_000;
/** Other programs may write at the same time. */
const maxAttempts = 10;
const attemptPauseMs = 10;

interface Reading {
  readonly definition: DefinitionLines;
}

export function createApiGuardDriver({
  netlink,
  guard,
  ensureChains,
}: ApiGuardDriverOptions): ApiGuardDriver {
  const keep = stabilize<ApiGuardObserved>(isSame);
  const reading = new KeptReading<Reading, never>(netlink, new OwnCommits(), {
    all: (signal) => orUndefinedWhereGone(readDefinition(netlink, signal)),
    touched: async () => undefined,
  });
  let isSupported: boolean | undefined;
  let last: ApiGuardObserved | undefined;

  const observe = async (signal: AbortSignal): Promise<ApiGuardObserved> => {
    isSupported ??= await hasNftables(netlink, signal);
    const definition = isSupported ? (await reading.read(signal)).definition : undefined;
    last = keep({ hasNftables: isSupported, definition });
    return last;
  };
  /** One transaction. It names only the agent's own table, so what others wrote meanwhile does not matter. */
  const write = async (isReplaced: boolean, signal: AbortSignal): Promise<void> => {
    const generation = await readGeneration(netlink, signal);
    const counted = isReplaced ? (await readDrops(netlink, signal)).get(apiCounter) : undefined;
    const outcome = await transact(netlink, generation, encodeApiTable(guard, isReplaced, counted));
    if (outcome.kind === "stale") throw staleError();
    if (outcome.kind === "refused") throw refusalError(outcome, "the guard of the API");
  };
  const ensureOnce = async (signal: AbortSignal): Promise<void> => {
    const planned = planApiTable(guard, await observe(signal));
    if (isSupported === false) await ensureChains(signal);
    else if (planned !== undefined) await write(planned.step.isReplaced, signal);
  };

  return {
    observe,
    write: ({ isReplaced }, signal) => write(isReplaced, signal),
    async isCurrent(signal) {
      const before = last;
      return before !== undefined && (await observe(signal)) === before;
    },
    async ensure() {
      const signal = AbortSignal.timeout(timeoutMs);
      for (let attempt = 1; ; attempt++) {
        try {
          return await ensureOnce(signal);
        } catch (error) {
          if (!(error instanceof GatewayError) || attempt === maxAttempts) throw error;
          await delay(attemptPauseMs, undefined, { signal });
        }
      }
    },
    readDrops: async (signal) => (isSupported === true ? readDrops(netlink, signal) : new Map()),
  };
}

function isSame(one: ApiGuardObserved, other: ApiGuardObserved): boolean {
  return one.hasNftables === other.hasNftables && isSameDefinition(one.definition, other.definition);
}

async function readDefinition(netlink: ConversingConnection, signal: AbortSignal): Promise<Reading> {
  const reader = new DefinitionReader(apiTable, inetNumber);
  const dump = (message: NetlinkMessage) =>
    netlink.dump(message, (...part) => reader.read(...part), signal, forget);
  await dump(allTables);
  if (reader.lines === undefined) return { definition: undefined };
  for (const request of [allChains, ...contentsOf(apiTable)]) await dump(inFamily(request, inetNumber));
  return { definition: reader.lines };
}

function readDrops(netlink: ConversingConnection, signal: AbortSignal): Promise<DropCounts> {
  return readDropsOf(netlink, [apiTable], signal, inetNumber);
}
