/**
 * Keeps the ledger ahead of the kernel: what is about to be added is recorded before, what was removed is struck off
 * after. After a crash in between, the ledger may name too much, never too little.
 */
import { type LedgerAddress, ledgerKey } from "../../../lib/model/ledger.ts";
import { leavingEips } from "../../../lib/plan/flows.ts";
import type { PlanInput } from "../../../lib/plan/plan-input.ts";
import type { State, StateChange } from "../../../lib/state/state.ts";
import type { StateAccess } from "../../store/state-access.ts";
import { asFailures, type PassFailure } from "../subsystem.ts";

/** Starts a new epoch. The ledger of another epoch says nothing about this one. */
export async function beginEpoch(store: StateAccess, epoch: string): Promise<void> {
  await write(store, ({ ledger }) => (ledger.epoch === epoch ? [] : [{ type: "ledger-epoch", epoch }]));
}

/**
 * Before any write to the kernel: records addresses to add or adopt, and EIPs to remove whose flows may live longer.
 */
export async function writeAhead(
  store: StateAccess,
  { addresses, program, facts, own }: Pick<PlanInput, "addresses" | "program" | "facts" | "own">,
): Promise<void> {
  await write(store, ({ ledger }) => [
    // An address that another process removed is already recorded.
    ...[...addresses.add.map(({ entry }) => entry), ...addresses.ledgerMissing]
      .filter((entry) => !ledger.addresses.has(ledgerKey(entry)))
      .map(added),
    ...[...leavingEips(program, facts, ledger, own)]
      .filter((address) => !ledger.retired.has(address))
      .map((address): StateChange => ({ type: "retire", address })),
  ]);
}

/**
 * After a complete pass: strikes off removed addresses, and EIPs without remaining flows. Unbound EIPs stay as long as
 * rules name them, because they can get new flows.
 */
export async function strikeOff(
  store: StateAccess,
  { addresses, program }: Pick<PlanInput, "addresses" | "program">,
  isSwept: boolean,
): Promise<void> {
  const unbound = new Set(program.unboundEips?.map(({ address }) => address));
  await write(store, ({ ledger }) => [
    ...addresses.ledgerStale.map((entry): StateChange => ({ type: "ledger-remove", entry })),
    ...(isSwept ? [...ledger.retired.difference(unbound)] : []).map(
      (address): StateChange => ({ type: "unretire", address }),
    ),
  ]);
}

/** Runs one of the writes above. A ledger that cannot be written is a failure of the pass, and does not end it. */
export async function ledgerFailures(write: () => Promise<void>): Promise<readonly PassFailure[]> {
  const failures = await asFailures(async () => {
    await write();
    return [];
  });
  return failures.map((failure) => ({ ...failure, stage: "ledger" }));
}

function added(entry: LedgerAddress): StateChange {
  return { type: "ledger-add", entry };
}

async function write(store: StateAccess, decide: (state: State) => readonly StateChange[]): Promise<void> {
  if (decide(store.current).length === 0) return;
  await store.transact((state) => ({ changes: decide(state), result: undefined }));
}
