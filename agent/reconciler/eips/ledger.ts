/**
 * Keeps the ledger ahead of the kernel: an address is recorded before it is added, and forgotten after it was removed.
 * After a crash in between, the ledger may name too much, never too little. While it cannot be written, an
 * address that it lacks is not added; what it has is still repaired.
 */
import { everyNth, inParts, type MaybeChunked } from "../../../lib/chunked.ts";
import { type LedgerAddress, ledgerKey } from "../../../lib/model/ledger.ts";
import type { PlanInput } from "../../../lib/plan/plan-input.ts";
import type { State, StateChange } from "../../../lib/state/state.ts";
import { runYielding } from "../../run-yielding.ts";
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
  { addresses, leaving }: Pick<PlanInput, "addresses" | "leaving">,
): Promise<void> {
  await write(store, function* ({ ledger }) {
    const changes: StateChange[] = [];
    const isDue = everyNth(lookedAtOnce);
    // An address that another program removed is already recorded.
    for (const entry of [...addresses.add.map((step) => step.entry), ...addresses.ledgerMissing]) {
      if (isDue()) yield;
      if (!ledger.addresses.has(ledgerKey(entry))) changes.push({ type: "ledger-add", entry });
    }
    for (const address of leaving) {
      if (isDue()) yield;
      if (!ledger.retired.has(address)) changes.push({ type: "retire", address });
    }
    return changes;
  });
}

/** Before addresses are added that nothing else comes along with. */
export async function recordAdded(store: StateAccess, entries: readonly LedgerAddress[]): Promise<void> {
  await write(store, ({ ledger }) =>
    entries
      .filter((entry) => !ledger.addresses.has(ledgerKey(entry)))
      .map((entry): StateChange => ({ type: "ledger-add", entry })),
  );
}

/**
 * At the end of every full pass: forgets addresses that are gone. If the pass left nothing to do and its sweep found
 * all flows, also EIPs that are no longer held. Unbound EIPs stay as long as rules name them, because they can get new
 * flows.
 *
 * @param isSwept true: no flow is left on EIPs that are not held
 */
export async function forgetRemoved(
  store: StateAccess,
  { addresses, program }: Pick<PlanInput, "addresses" | "program">,
  isSwept: boolean,
): Promise<void> {
  const unbound = new Set(program.unboundEips?.map(({ address }) => address));
  await write(store, function* ({ ledger }) {
    const changes: StateChange[] = [];
    const isDue = everyNth(lookedAtOnce);
    for (const entry of addresses.ledgerStale) {
      if (isDue()) yield;
      changes.push({ type: "ledger-remove", entry });
    }
    for (const address of isSwept ? ledger.retired : []) {
      if (isDue()) yield;
      if (!unbound.has(address)) changes.push({ type: "unretire", address });
    }
    return changes;
  });
}

/** Runs one of the writes above. A ledger that cannot be written is a failure of the pass, and does not end it. */
export async function ledgerFailures(write: () => Promise<void>): Promise<readonly PassFailure[]> {
  const failures = await asFailures(async () => {
    await write();
    return [];
  });
  return failures.map((failure) => ({ ...failure, stage: "ledger" }));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

async function write(
  store: StateAccess,
  decide: (state: State) => MaybeChunked<readonly StateChange[]>,
): Promise<void> {
  if ((await runYielding(inParts(decide(store.current)))).length === 0) return;
  await store.transact(function* (state) {
    return { changes: yield* inParts(decide(state)), result: undefined };
  });
}
