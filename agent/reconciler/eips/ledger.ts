/**
 * Keeps the ledger ahead of the kernel: what is about to be put there is written down first, what was taken out is
 * struck off afterwards. A crash in between leaves the ledger naming too much, never too little.
 */
import { type LedgerAddress, ledgerKey } from "../../../lib/model/ledger.ts";
import { leavingEips } from "../../../lib/plan/flows.ts";
import type { PlanInput } from "../../../lib/plan/plan-input.ts";
import type { State, StateChange } from "../../../lib/state/state.ts";
import type { StateAccess } from "../../store/state-access.ts";

/** A ledger of another life of the namespace says nothing of this one. */
export async function beginEpoch(store: StateAccess, epoch: string): Promise<void> {
  await write(store, ({ ledger }) => (ledger.epoch === epoch ? [] : [{ type: "ledger-epoch", epoch }]));
}

/** Before anything is written to the kernel: addresses to come or to adopt, and EIPs to go whose flows may outlive them. */
export async function writeAhead(
  store: StateAccess,
  { addresses, program, facts, own }: Pick<PlanInput, "addresses" | "program" | "facts" | "own">,
): Promise<void> {
  await write(store, ({ ledger }) => [
    // One that somebody took away is written down already.
    ...[...addresses.add.map(({ entry }) => entry), ...addresses.ledgerMissing]
      .filter((entry) => !ledger.addresses.has(ledgerKey(entry)))
      .map(added),
    ...[...leavingEips(program, facts, ledger, own)]
      .filter((address) => !ledger.retired.has(address))
      .map((address): StateChange => ({ type: "retire", address })),
  ]);
}

/**
 * After a pass that left nothing undone: entries of what is gone, and EIPs without a flow left. Those that are unbound may get
 * flows for as long as rules name them.
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

function added(entry: LedgerAddress): StateChange {
  return { type: "ledger-add", entry };
}

async function write(store: StateAccess, decide: (state: State) => readonly StateChange[]): Promise<void> {
  if (decide(store.current).length === 0) return;
  await store.transact((state) => ({ changes: decide(state), result: undefined }));
}
